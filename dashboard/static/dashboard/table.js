// The containers: filtered by state and name and ordered by a column, which the address keeps, and marked for what is done to many.
"use strict";

(() => {
  const rows = document.getElementById("part-containers");
  if (!rows) return;
  const chips = document.getElementById("chips"), field = document.getElementById("sieve-q");
  const all = document.getElementById("mark-all");
  const heads = document.getElementById("columns");
  let state = narrowed().get("state") || "", sort = narrowed().get("sort") || "", last = null;

  const list = () => [...rows.querySelectorAll("tr[data-state]")];
  const box = (row) => row.querySelector("input[name=agent]");

  function sieve() {
    const part = field.value.trim().toLowerCase();
    const counts = {};
    let fit = 0;
    for (const row of list()) {
      counts[row.dataset.state] = (counts[row.dataset.state] || 0) + 1;
      row.hidden = (state && row.dataset.state !== state) || !row.id.slice(6).includes(part);
      if (row.hidden) box(row).checked = false;
      fit += row.hidden ? 0 : 1;
    }
    pressed(chips, "state", state, counts);
    document.getElementById("sieve-none").hidden = fit > 0 || !list().length;
    tell();
  }

  function keep() {
    narrow({ state, q: field.value.trim(), sort });
    sieve();
  }

  // ---- order

  const links = [...heads.querySelectorAll("a")];

  function key(row, column) {
    if (!column) return row.querySelector(".mgr") ? "" : row.id;
    if (column === "agent") return row.id;
    const value = row.cells[links.find((link) => link.textContent === column).parentElement.cellIndex].dataset.k;
    return column === "config" ? value : Number(value);
  }

  // Those that are alike stand as at first: by their names, the manager first.
  function ordered(all) {
    const column = sort.replace("-", ""), way = sort.startsWith("-") ? -1 : 1;
    const by = (column) => (a, b) => (key(a, column) < key(b, column) ? -1 : key(a, column) > key(b, column) ? 1 : 0);
    const first = [...all].sort(by(""));
    return column ? first.sort((a, b) => way * by(column)(a, b)) : first;
  }

  const points = matchMedia("(hover: hover)"); // a finger that is gone leaves its :hover behind
  const used = () => (points.matches && rows.matches(":hover")) || rows.contains(document.activeElement);

  // No button moves away from under a pointer or with the focus: until they leave, rows stay where they are.
  arrange.containers = (wanted) => {
    if (!sort || wanted.some((row) => !row.dataset.state)) return wanted;
    const at = new Map(list().map((row, n) => [row.id, n]));
    return used() ? wanted.sort((a, b) => (at.get(a.id) ?? 1e6) - (at.get(b.id) ?? 1e6)) : ordered(wanted);
  };

  function order() {
    const now = list(), next = ordered(now);
    if (next.some((row, n) => row !== now[n])) rows.append(...next);
  }

  function settled() {
    if (sort && !used()) order();
  }

  heads.addEventListener("click", (event) => {
    const link = event.target.closest("a");
    if (!link || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    const orders = [...link.dataset.orders.split(" "), ""];
    sort = orders[(orders.indexOf(sort) + 1) % orders.length];
    for (const one of links) {
      const mine = sort && one.dataset.orders.split(" ").includes(sort);
      one.parentElement.setAttribute("aria-sort", !mine ? "none" : sort.startsWith("-") ? "descending" : "ascending");
    }
    order();
    keep();
  });
  rows.addEventListener("pointerleave", settled);
  rows.addEventListener("focusout", () => setTimeout(settled));

  function tell() {
    const shown = list().filter((row) => !row.hidden), marked = shown.filter((row) => box(row).checked);
    const words = marked.length ? `${marked.length} marked` : "";
    const said = document.getElementById("marked");
    if (said.textContent !== words) said.textContent = words;
    all.checked = shown.length > 0 && marked.length === shown.length;
    all.indeterminate = marked.length > 0 && marked.length < shown.length;
  }

  chips.addEventListener("click", (event) => {
    const chip = event.target.closest("a");
    if (!chip || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    state = chip.dataset.state;
    keep();
  });
  field.addEventListener("input", keep);
  field.form.addEventListener("submit", (event) => event.preventDefault());
  field.form.querySelector("button").hidden = true;

  all.hidden = false;
  all.addEventListener("change", () => {
    for (const row of list()) if (!row.hidden) box(row).checked = all.checked;
    tell();
  });
  rows.addEventListener("click", (event) => {
    if (!event.target.matches("input[name=agent]")) return;
    const shown = list().filter((row) => !row.hidden), here = shown.indexOf(event.target.closest("tr"));
    // With Shift, all from the one before to this one.
    if (event.shiftKey && last !== null) {
      for (const row of shown.slice(Math.min(last, here), Math.max(last, here) + 1)) box(row).checked = event.target.checked;
    }
    last = here;
    tell();
  });

  // What comes live comes unfiltered: a row is put in its place, then looked at.
  new MutationObserver(sieve).observe(rows, { childList: true });
  sieve();
})();
