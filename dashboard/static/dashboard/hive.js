// Keeps a page true: the live link with its cursor, parts put in place, ages that tick, and the sign-in fragment.
"use strict";

const CARD = "article:not(.done)"; // one to decide is not moved or replaced under the pointer or with the focus
const ROWS_KEPT = 500;
const SILENT = 35_000; // ms without a frame (a heartbeat comes every 15 s) until the link counts as dead
const SIGNED_OUT = 4403, UNKNOWN = 4404;

const $ = (selector) => document.querySelector(selector);
const body = document.body;
const link = { socket: null, cursor: Number(body.dataset.after || 0), tries: 0, heard: Date.now(), timer: 0, skew: 0 };

// ---- the link ---------------------------------------------------------------------------------------------------------

function connect() {
  clearTimeout(link.timer);
  const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}${body.dataset.live}`);
  link.socket = socket;
  socket.onopen = () => socket.send(JSON.stringify({ after: link.cursor }));
  socket.onmessage = (message) => {
    const frame = JSON.parse(message.data);
    take(frame);
    socket.send(JSON.stringify({ ack: frame.n }));
  };
  socket.onclose = (event) => {
    if (link.socket !== socket) return;
    link.socket = null;
    // The server says that this page may not, or should not, be open: what it answers instead is shown.
    if (event.code === SIGNED_OUT || event.code === UNKNOWN) return location.reload();
    again();
  };
}

function again() {
  const pause = Math.min(300 * 2 ** link.tries++, 5000) * (0.7 + 0.6 * Math.random());
  link.timer = setTimeout(connect, pause);
  showLink();
}

function hangUp() {
  const socket = link.socket;
  link.socket = null;
  socket?.close();
}

function wake() {
  if (document.visibilityState === "visible" && !link.socket) connect();
}

function take(frame) {
  link.heard = Date.now();
  link.tries = 0;
  link.skew = Date.parse(frame.at) - Date.now();
  for (const [name, html] of Object.entries(frame.parts || {})) place(name, html);
  if (frame.skipped) addRows(`<li class="gap">… ${Number(frame.skipped)} events passed over …</li>`, 0);
  if (frame.rows) addRows(frame.rows, frame.last);
  showLink();
  tick();
}

function showLink() {
  const live = link.socket?.readyState === WebSocket.OPEN && Date.now() - link.heard < SILENT;
  const old = span((Date.now() - link.heard) / 1000);
  const sign = $("#link");
  sign.classList.toggle("off", !live);
  const words = live ? "live" : `no link · ${old}`;
  if (sign.textContent !== words) sign.textContent = words;
  // A short gap is nobody's business.
  const lost = !live && Date.now() - link.heard >= 3000;
  $("#stale").textContent = old;
  if ($("#banner").hidden !== lost) return;
  $("#banner").hidden = !lost;
  for (const form of document.querySelectorAll("form[data-draft]")) {
    form.querySelector("[type=submit]").disabled = lost;
    form.querySelector("[data-lost]").hidden = !lost;
  }
}

// ---- parts: lists of elements with ids --------------------------------------------------------------------------------

// Part -> puts what it is to show in the order that this tab wants it in.
const arrange = {};
const latest = {}, held = new Set();

function place(name, html) {
  const list = $(`#part-${name}`);
  if (!list) return;
  latest[name] = html;
  // Who waits for an answer has to be there still when it comes, for htmx starts there; a card is what is answered. And the
  // answer itself is left alone while htmx settles it: until then it has its forerunner's class, and not yet the focus.
  const under = name === "approvals" ? ".htmx-settling" : ".htmx-request, .htmx-settling";
  if (list.querySelector(under)) return held.add(name);
  const fresh = document.createElement("template");
  fresh.innerHTML = html;
  const wanted = arrange[name]?.([...fresh.content.children]) || [...fresh.content.children];
  const ids = new Set(wanted.map((element) => element.id));
  if ([...list.children].some(busy)) {
    // Nothing moves a card that is in use: what is new comes after it, all else waits until it is let go.
    list.append(...wanted.filter((element) => !document.getElementById(element.id)).map((element) => renewed(null, element)));
    return counts();
  }
  for (const old of [...list.children]) if (!ids.has(old.id)) old.remove();
  let next = list.firstElementChild;
  for (const element of wanted) {
    const old = document.getElementById(element.id);
    const shown = old && stands(old, element) ? old : renewed(old, element);
    if (old && old === next) next = shown;
    if (shown !== next) list.insertBefore(shown, next);
    else next = next.nextElementSibling;
  }
  counts();
}

// A decision stands: what says that it still waits was served before, and only comes after the answer.
const stands = (old, element) => old.served === element.outerHTML || (old.matches("article.done") && element.matches(CARD));

const busy = (element) => element.matches(CARD) && (element.contains(document.activeElement) || element.matches(":hover"));

function renewed(old, element) {
  element.served = element.outerHTML;
  for (const form of element.querySelectorAll("form[method=post]")) form.prepend(token());
  htmx.process(element);
  if (!old) return element;
  for (const box of element.querySelectorAll("input[type=checkbox]")) {
    box.checked = [...old.querySelectorAll("input[type=checkbox]")].some((it) => it.value === box.value && it.checked);
  }
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  element.querySelectorAll("details").forEach((details, n) => {
    details.open = old.querySelectorAll("details")[n]?.open ?? details.open;
  });
  old.replaceWith(element);
  if (focused) refocus(element, old, focused);
  return element;
}

function refocus(element, old, focused) {
  const marks = (it) => ["formaction", "href", "name", "value"].map((mark) => it.getAttribute(mark));
  const name = (it, row) => marks(it) + [...row.querySelectorAll("form")].find((form) => form.contains(it))?.action;
  let same = [...element.querySelectorAll(focused.tagName)].find((it) => name(it, element) === name(focused, old));
  if (focused === old) {
    same = element;
    [element.tabIndex, element.className] = [-1, old.className];
  }
  same?.focus({ preventScroll: true });
}

function token() {
  return $("#sign-out input[name=csrfmiddlewaretoken]").cloneNode();
}

function counts() {
  const facts = $("#v-agents, #part-counts > *")?.dataset;
  if (!facts) return;
  for (const badge of document.querySelectorAll("[data-count]")) {
    const count = facts[badge.dataset.count] ?? badge.textContent;
    badge.textContent = count;
    badge.hidden = count === "0";
  }
  document.title = document.title.replace(/^(\(\d+\) )?/, facts.pending === "0" ? "" : `(${facts.pending}) `);
}

function letGo() {
  const names = [...held];
  held.clear();
  for (const name of names) place(name, latest[name]);
}
document.addEventListener("htmx:afterRequest", letGo);
document.addEventListener("htmx:afterSettle", () => setTimeout(letGo));

function settle() {
  // What was held back while a card had the focus or the pointer.
  for (const [name, html] of Object.entries(latest)) if ($(`#part-${name}`)?.querySelector(CARD)) place(name, html);
}

// ---- what the page is narrowed to, which its address keeps ------------------------------------------------------------

const narrowed = () => new URLSearchParams(location.search);

function narrow(words) {
  const all = narrowed();
  for (const [name, value] of Object.entries(words)) value ? all.set(name, value) : all.delete(name);
  history.replaceState(null, "", location.pathname + (all.size ? `?${all}` : ""));
}

function pressed(chips, name, value, counts) {
  for (const chip of chips.children) {
    const own = chip.dataset[name];
    if (own === value) chip.setAttribute("aria-current", "true");
    else chip.removeAttribute("aria-current");
    const count = chip.querySelector("span"), now = String(counts[own] || 0);
    if (count && count.textContent !== now) count.textContent = now;
  }
}

// ---- the log ----------------------------------------------------------------------------------------------------------

let unseen = 0;

function addRows(html, last) {
  const list = $("#events-list"), log = list?.parentElement;
  if (last) link.cursor = last;
  if (!list) return; // a page without a log
  const following = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  const before = list.childElementCount;
  list.insertAdjacentHTML("beforeend", html);
  const added = list.childElementCount - before;
  // A gap stays: it is all that tells of what it stands for.
  while (list.childElementCount > ROWS_KEPT) list.querySelector(":scope > :not(.gap)").remove();
  if (following) log.scrollTop = log.scrollHeight;
  else jump(unseen + added);
}

function jump(count) {
  unseen = count;
  const button = $("#jump");
  button.hidden = !count;
  button.textContent = `▼ ${count} new`;
}

// ---- time -------------------------------------------------------------------------------------------------------------

const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];

function span(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const first = UNITS.findIndex(([, size]) => whole >= size);
  if (first < 0) return "0 s";
  const [unit, size] = UNITS[first];
  const count = Math.floor(whole / size);
  const [less, part] = UNITS[first + 1] || [];
  // Two units while the first is small: "1 h 5 m", but "7 h".
  const rest = part ? Math.floor((whole % size) / part) : 0;
  return count < 5 && rest ? `${count} ${unit} ${rest} ${less}` : `${count} ${unit}`;
}

// Swedish is how a date is written as ISO 8601 has it.
const zoned = (timeZone) => new Intl.DateTimeFormat("sv", { dateStyle: "short", timeStyle: "medium", timeZone });
const inUtc = document.documentElement.dataset.times === "utc", utc = zoned("UTC"), here = inUtc ? utc : zoned();

function tick() {
  const now = Date.now() + link.skew;
  for (const time of document.querySelectorAll("time.age")) {
    const words = span((now - Date.parse(time.dateTime)) / 1000) + (time.dataset.after || "");
    if (time.textContent !== words) time.textContent = words;
  }
  const today = here.format(now);
  for (const time of document.querySelectorAll("time:not([data-here])")) {
    const at = Date.parse(time.dateTime), words = here.format(at);
    time.dataset.here = "";
    time.title = `${utc.format(at)} UTC` + (inUtc ? "" : `, ${words} here`);
    // Of another day the date tells more than the second.
    if (time.matches(".clock")) time.textContent = words.slice(0, 10) === today.slice(0, 10) ? words.slice(11) : words.slice(5, 16);
  }
  $("#clock").textContent = today.slice(11) + (inUtc ? " UTC" : "");
}

// ---- forms ------------------------------------------------------------------------------------------------------------

function done(event) {
  const form = event.detail.elt.closest("form");
  if (form?.matches("[data-once]") && event.detail.xhr.status < 400) {
    form.querySelectorAll("textarea, input:not([type=hidden])").forEach((field) => (field.value = ""));
    if (form.dataset.draft) localStorage.removeItem(`draft:${form.dataset.draft}`);
  }
  clearTimeout(done.timer);
  done.timer = setTimeout(() => $("#toast:not(.bad)")?.replaceChildren(), 6000);
}

function unanswered() {
  const toast = $("#toast"), mark = document.createElement("b"), words = document.createElement("span");
  mark.ariaHidden = "true";
  [mark.textContent, words.textContent] = ["✕", "The hive did not answer: try again."];
  toast.setAttribute("role", "alert");
  toast.className = "toast bad";
  toast.replaceChildren(mark, words);
}

function drafts() {
  for (const form of document.querySelectorAll("form[data-draft]")) {
    const field = form.querySelector("textarea"), key = `draft:${form.dataset.draft}`;
    field.value = field.value || localStorage.getItem(key) || "";
    field.addEventListener("input", () => localStorage.setItem(key, field.value));
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
  }
}

function signIn() {
  const form = $("#sign-in"), fragment = location.hash.slice(1);
  if (!form || !fragment) return;
  history.replaceState(null, "", location.pathname + location.search);
  form.elements.token.value = fragment;
  form.requestSubmit();
}

// ---- start ------------------------------------------------------------------------------------------------------------

signIn();
drafts();
tick();
setInterval(tick, 1000);
body.addEventListener("htmx:afterRequest", done);
body.addEventListener("htmx:sendError", unanswered);
addEventListener("hashchange", signIn);
if (body.dataset.live) {
  const log = $("#events-list")?.parentElement;
  if (log) {
    log.scrollTop = log.scrollHeight;
    log.addEventListener("scroll", () => log.scrollHeight - log.scrollTop - log.clientHeight < 40 && jump(0));
    $("#jump").addEventListener("click", () => (log.scrollTop = log.scrollHeight));
  }
  body.addEventListener("focusout", () => setTimeout(settle));
  // A browser heeds `autofocus` once per page at most: the card that was decided takes the focus by our hand.
  body.addEventListener("htmx:oobAfterSwap", () => {
    const decided = $("article.done[autofocus]");
    decided?.removeAttribute("autofocus");
    decided?.focus({ preventScroll: true });
  });
  $("#part-approvals")?.addEventListener("pointerout", () => setTimeout(settle));
  addEventListener("online", wake);
  document.addEventListener("visibilitychange", wake);
  setInterval(() => {
    showLink();
    if (link.socket && Date.now() - link.heard > SILENT) { hangUp(); again(); }
  }, 1000);
  connect();
}
