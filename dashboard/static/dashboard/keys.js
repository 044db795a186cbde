// The keyboard: one table of keys, from which the list on `?` is made. Single letters can be switched off (WCAG 2.1.4).
"use strict";

(() => {
  const CARDS = "#part-approvals > article:not(.done)", ROWS = "#part-containers > tr, .flow > li, .diff tr, [data-agent] > .ev";

  // Keys, what they do in words, and how; a pair is typed one after the other.
  const KEYS = [
    ["/", "find", () => focus("#find")],
    ["g h", "go to the hive", () => visit("/")],
    ["g a", "go to what waits for you", () => visit("/#approvals")],
    ["g m", "go to the messages", () => visit("/#messages")],
    ["g e", "go to the events", () => visit("/#events")],
    ["g j", "go to the jobs", () => visit("/#jobs")],
    ["j", "next", () => mark(1)],
    ["k", "previous", () => mark(-1)],
    ["o", "open or close it", open],
    ["a", "to the approve button of the marked request, Enter then approves", () => focus("button.ok", card())],
    ["d", "deny the marked request with a reason", deny],
    ["x", "mark the container, or unmark it", pick],
    ["p", "pause the log, or let it go on", () => $(".log-pause, [data-key=p]")?.click()],
    ["[", "previous agent", () => neighbour(-1)],
    ["]", "next agent", () => neighbour(1)],
    ["?", "this list", list],
  ];

  let first = "", timer = 0, marked = null;

  addEventListener("keydown", (event) => {
    if (event.key === "Escape") return leave();
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || typing(event.target)) return;
    if (document.documentElement.dataset.keys === "off" || document.querySelector("dialog[open]")) return;
    const typed = first ? `${first} ${event.key}` : event.key;
    clearTimeout(timer);
    first = "";
    const found = KEYS.find(([keys]) => keys === typed);
    if (found) {
      event.preventDefault();
      found[2]();
    } else if (KEYS.some(([keys]) => keys.startsWith(`${typed} `))) {
      first = typed;
      timer = setTimeout(() => (first = ""), 1500);
    }
  });

  const typing = (element) => element.matches?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

  function focus(selector, within = document) {
    const element = within?.querySelector(selector);
    element?.scrollIntoView({ block: "nearest" });
    element?.focus();
  }

  function visit(path) {
    const [page, part] = path.split("#");
    if (location.pathname !== page) location.assign(path);
    else if (part) document.getElementById(part)?.scrollIntoView();
    else scrollTo(0, 0);
  }

  // ---- the marked one

  function mark(step) {
    const all = [...document.querySelectorAll(`${CARDS}, ${ROWS}`)].filter((element) => element.offsetParent);
    if (!all.length) return;
    const at = all.indexOf(marked?.isConnected ? marked : null);
    marked?.classList.remove("marked");
    marked = all[at < 0 ? 0 : Math.min(Math.max(at + step, 0), all.length - 1)];
    marked.classList.add("marked");
    marked.tabIndex = -1;
    marked.focus({ preventScroll: true });
    marked.scrollIntoView({ block: "nearest" });
  }

  const card = () => marked?.closest(CARDS) || document.querySelector(CARDS);

  function open() {
    const details = (marked?.isConnected ? marked : card())?.querySelector("details:not(.deny)");
    if (details) details.open = !details.open;
  }

  function pick() {
    if (marked?.isConnected) marked.querySelector(".pick input")?.click();
  }

  function deny() {
    const details = card()?.querySelector("details.deny");
    if (!details) return;
    details.open = true;
    focus("input[name=reason]", details);
  }

  function neighbour(step) {
    const pages = [...document.querySelectorAll("[data-agents] a, #part-containers th a, #part-containers .name a")].map((a) => a.pathname);
    const at = pages.indexOf(location.pathname);
    const next = pages[at < 0 ? (step > 0 ? 0 : pages.length - 1) : at + step];
    if (next) location.assign(next);
  }

  function leave() {
    first = "";
    if (typing(document.activeElement)) document.activeElement.blur();
    document.querySelectorAll("details.deny[open], details.prefs[open]").forEach((details) => (details.open = false));
  }

  // ---- the list

  function list() {
    const dialog = document.getElementById("keylist") || made();
    dialog.showModal();
  }

  function made() {
    const dialog = document.createElement("dialog");
    dialog.id = "keylist";
    dialog.className = "keylist";
    dialog.setAttribute("aria-labelledby", "h-keys");
    const rows = [...KEYS, ["Ctrl K", "jump to an agent, a page or an act"], ["Ctrl Enter", "send"], ["Esc", "leave a field, close a dialog"]];
    const shown = (keys) => keys.split(" ").map((key) => `<kbd>${key}</kbd>`).join(" ");
    dialog.innerHTML = `<h2 id="h-keys">Keys</h2><dl>${rows.map(([keys, words]) => `<dt>${shown(keys)}</dt><dd>${words}</dd>`).join("")}</dl><form method="dialog"><button>close</button></form>`;
    document.body.append(dialog);
    return dialog;
  }
})();
