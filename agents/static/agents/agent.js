// An agent's live log: what is shown of it, turns that fold, finding, raw JSON, copying. And a login's countdown.
"use strict";

(() => {
  const list = $("#events-list[data-agent]"), log = list?.parentElement;

  for (const element of document.querySelectorAll("[data-script]")) element.hidden = false;
  $(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });

  // ---- copying, and what is left of a time

  addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const done = await copied($(button.dataset.copy).textContent);
    said(button, done ? "copied" : "select it and copy");
  });

  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      return false; // a page that is not served by https has no clipboard
    }
  }

  function said(button, words) {
    const before = button.dataset.words ??= button.textContent;
    button.textContent = words;
    setTimeout(() => (button.textContent = before), 2000);
  }

  function countdown() {
    for (const time of document.querySelectorAll("time.left")) {
      const words = span((Date.parse(time.dateTime) - Date.now() - link.skew) / 1000);
      if (time.textContent !== words) time.textContent = words;
    }
  }

  setInterval(countdown, 1000);
  new MutationObserver(() => {
    countdown();
    for (const element of document.querySelectorAll("#part-login [data-script]")) element.hidden = false;
  }).observe(document.querySelector("main"), { childList: true, subtree: true });
  countdown();
  if (!list) return;

  // ---- groups of events, remembered per browser

  const hidden = new Set(JSON.parse(localStorage.getItem("log:hidden") || "[]"));

  function showGroups() {
    for (const chip of document.querySelectorAll("[data-group]")) {
      chip.setAttribute("aria-pressed", !hidden.has(chip.dataset.group));
      log.classList.toggle(`no-${chip.dataset.group}`, hidden.has(chip.dataset.group));
    }
  }

  for (const chip of document.querySelectorAll("[data-group]")) {
    chip.addEventListener("click", () => {
      const group = chip.dataset.group;
      hidden.has(group) ? hidden.delete(group) : hidden.add(group);
      localStorage.setItem("log:hidden", JSON.stringify([...hidden]));
      showGroups();
    });
  }
  showGroups();

  // ---- turns: their heads are kept up to date, and fold what is below them

  const folded = new Set();

  function dress(rows) {
    for (const row of rows) {
      if (row.matches(".turnhead") && !row.querySelector("button")) {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "ghost fold";
        row.prepend(button);
      }
      if (row.matches(".ev")) row.classList.toggle("folded", folded.has(row.dataset.turn));
    }
    for (const head of list.querySelectorAll(".turnhead")) {
      const button = head.querySelector("button"), open = !folded.has(head.dataset.turn);
      button.textContent = open ? "▾" : "▸";
      button.setAttribute("aria-expanded", open);
      button.setAttribute("aria-label", `Events of ${head.querySelector("span").textContent.split("·")[0].trim()}`);
    }
  }

  function heads() {
    for (const fresh of document.querySelectorAll("#part-heads > li")) {
      const turn = fresh.id.slice("head-".length);
      for (const head of list.querySelectorAll(`.turnhead[data-turn="${CSS.escape(turn)}"] > span`)) {
        if (head.dataset.html === fresh.innerHTML) continue;
        head.dataset.html = head.innerHTML = fresh.innerHTML;
      }
    }
    tick();
  }

  list.addEventListener("click", (event) => {
    const turn = event.target.closest(".fold")?.parentElement.dataset.turn;
    if (!turn) return;
    folded.has(turn) ? folded.delete(turn) : folded.add(turn);
    dress(list.children);
  });
  if ($("#part-heads")) new MutationObserver(heads).observe($("#part-heads"), { childList: true });

  // ---- finding: leave out what does not match, or mark what does

  const find = $("#seek"), only = $("#only");

  function pattern() {
    const words = find.value.trim(), regex = words.match(/^\/(.+)\/(i?)$/);
    try {
      return words && new RegExp(regex ? regex[1] : words.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"), regex && !regex[2] ? "" : "i");
    } catch {
      return null; // half typed
    }
  }

  function look(rows = list.children) {
    const wanted = pattern();
    for (const row of rows) {
      if (!row.matches(".ev")) continue;
      const hit = Boolean(wanted) && wanted.test(row.textContent);
      row.classList.toggle("hit", hit && !only.checked);
      row.classList.toggle("missed", Boolean(wanted) && !hit && only.checked);
      row.dataset.found = hit ? "1" : "";
    }
    const count = list.querySelectorAll('.ev[data-found="1"]').length;
    $("#found").textContent = wanted === null ? "no regular expression" : wanted ? (count ? `${count} found` : `no event matches “${find.value}”`) : "";
  }

  find.form.addEventListener("submit", (event) => event.preventDefault());
  find.addEventListener("input", () => look());
  only.addEventListener("change", () => look());

  function inContext(row) {
    find.value = "";
    look();
    folded.delete(row.dataset.turn);
    dress(list.children);
    list.querySelectorAll(".here").forEach((it) => it.classList.remove("here"));
    row.classList.add("here");
    row.scrollIntoView({ block: "center" });
  }

  // ---- one event: copy it, see it as JSON, see it in its place

  const tools = document.createElement("div");
  tools.className = "tools";
  tools.innerHTML = '<button type="button" data-do="copy">copy</button><button type="button" data-do="json">json</button><button type="button" data-do="context">in context</button>';

  function offer(event) {
    const row = event.target.closest?.(".ev");
    if (!row || tools.parentElement === row) return;
    if (event.type === "pointerover" && tools.contains(document.activeElement)) return;
    tools.lastElementChild.hidden = !row.dataset.found;
    row.append(tools);
    tools.scrollIntoView({ block: "nearest" });
  }

  list.addEventListener("click", (event) => {
    const act = event.target.dataset.do, row = event.target.closest(".ev");
    if (act === "copy") copied(words(row)).then((done) => said(event.target, done ? "copied" : "not allowed here"));
    if (act === "json") row.querySelector(".raw") ? row.querySelector(".raw").remove() : fetchRaw([row]);
    if (act === "context") inContext(row);
  });
  list.addEventListener("focusin", offer);
  list.addEventListener("click", offer);

  function words(row) {
    const copy = row.cloneNode(true);
    copy.querySelectorAll(".tools, .raw, summary").forEach((it) => it.remove());
    return [...copy.children].map((it) => it.textContent.trim()).join(" ");
  }

  const raw = $("#raw");
  const id = (row) => Number(row.id.slice("event-".length));

  async function fetchRaw(rows) {
    const wanted = rows.filter((row) => row.matches(".ev") && !row.querySelector(".raw"));
    if (!wanted.length) return;
    const answer = await fetch(`${list.dataset.export}?after=${id(wanted[0]) - 1}&upto=${id(wanted.at(-1))}`);
    if (!answer.ok) return;
    for (const line of (await answer.text()).split("\n").filter(Boolean)) {
      const row = document.getElementById(`event-${JSON.parse(line).id}`);
      if (!row || row.querySelector(".raw")) continue;
      const shown = document.createElement("pre");
      shown.className = "raw";
      shown.textContent = JSON.stringify(JSON.parse(line).payload, null, 1);
      row.append(shown);
    }
  }

  raw.addEventListener("click", () => {
    const on = raw.getAttribute("aria-pressed") !== "true";
    raw.setAttribute("aria-pressed", on);
    on ? fetchRaw([...list.children]) : list.querySelectorAll(".raw").forEach((it) => it.remove());
  });

  // ---- what is new

  new MutationObserver((changes) => {
    if (changes.some((change) => change.removedNodes.length && change.target === list)) older();
    const rows = changes.flatMap((change) => [...change.addedNodes]).filter((node) => node.nodeType === 1 && node.parentElement === list);
    if (!rows.length) return;
    dress(rows);
    heads();
    for (const row of rows) if (row.matches("li.gap:not(.ev)")) leadBack(row);
    if (find.value) look(rows);
    if (raw.getAttribute("aria-pressed") === "true") fetchRaw(rows);
  }).observe(list, { childList: true });

  // Rows that went from the top are older events by now.
  function older() {
    const link = log.querySelector(".older") || document.createElement("a");
    link.className = "older";
    link.textContent = "older events";
    link.href = `?before=${list.querySelector(".ev").id.slice("event-".length)}`;
    log.prepend(link);
  }

  // What was passed over has an address all the same.
  function leadBack(gap) {
    const next = gap.nextElementSibling?.id.slice("event-".length) || gap.nextElementSibling?.nextElementSibling?.id.slice("event-".length);
    if (!next) return;
    const link = document.createElement("a");
    link.href = `?before=${next}`;
    link.textContent = "see them";
    gap.append(" ", link);
  }

  dress(list.children);
  list.querySelector(":target")?.scrollIntoView({ block: "center" });
})();
