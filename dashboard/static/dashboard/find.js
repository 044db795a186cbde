// Ctrl K: one list of pages, acts by their plain names, and whatever the search finds.
"use strict";

(() => {
  if (!document.getElementById("find")) return;
  let dialog = null, timer = 0;

  addEventListener("keydown", (event) => {
    if (event.key.toLowerCase() !== "k" || !(event.ctrlKey || event.metaKey) || event.shiftKey || event.altKey) return;
    event.preventDefault();
    if (document.querySelector("dialog[open]")) return;
    dialog ||= made();
    dialog.showModal();
    dialog.querySelector("input").select();
    look();
  });

  function made() {
    const it = document.createElement("dialog");
    it.className = "dlg palette";
    it.setAttribute("aria-label", "Find");
    it.innerHTML = `<input name="q" aria-label="page, act, agent or words" placeholder="page, act, agent or words" autocomplete="off" spellcheck="false"><div class="found"></div>`;
    document.body.append(it);
    it.querySelector("input").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(look, 150);
    });
    it.addEventListener("keydown", walk);
    it.addEventListener("click", (event) => event.target === it && it.close());
    return it;
  }

  function look() {
    const q = encodeURIComponent(dialog.querySelector("input").value);
    htmx.ajax("GET", `/search?q=${q}`, { target: dialog.querySelector(".found"), source: dialog, swap: "innerHTML" });
  }

  function walk(event) {
    const links = [...dialog.querySelectorAll(".hits a")], at = links.indexOf(document.activeElement);
    const field = dialog.querySelector("input");
    if (event.key === "ArrowDown" && links.length) links[Math.min(at + 1, links.length - 1)].focus();
    else if (event.key === "ArrowUp") (at > 0 ? links[at - 1] : field).focus();
    else if (event.key === "Enter" && document.activeElement === field) links[0]?.click();
    else return;
    event.preventDefault();
  }

  // A place on this very page: the list gives way to it.
  addEventListener("hashchange", () => dialog?.close());
})();
