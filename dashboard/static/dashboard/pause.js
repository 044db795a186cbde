// A log that is paused: what comes is held, and shown at once when it goes on.
"use strict";

(() => {
  const HELD = 500; // frames; older ones are passed over, and said to be
  const pause = $(".log-pause"), add = addRows;
  let held = null, dropped = 0;
  if (!pause) return;

  const count = (html) => html.split('<li class="ev').length - 1;

  addRows = (html, last) => {
    if (!held) return add(html, last);
    held.push([html, last]);
    if (last) link.cursor = last;
    if (held.length > HELD) dropped += count(held.shift()[0]);
    pause.firstChild.data = `go on, ${held.reduce((sum, [html]) => sum + count(html), 0)} new `;
  };

  pause.addEventListener("click", () => {
    const waiting = held;
    held = held ? null : [];
    pause.setAttribute("aria-pressed", held !== null);
    pause.firstChild.data = held ? "go on " : "pause ";
    if (dropped) add(`<li class="gap">… ${dropped} events passed over …</li>`, 0);
    for (const [html, last] of waiting || []) add(html, last);
    dropped = 0;
  });
  pause.hidden = false;
})();
