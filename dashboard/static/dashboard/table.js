// The containers: filtered by state and name, which the address keeps, and marked for what is done to many.
"use strict";

(() => {
  const rows = document.getElementById("part-containers");
  if (!rows) return;
  const chips = document.getElementById("chips"), field = document.getElementById("sieve-q");
  const all = document.getElementById("mark-all");
  let state = new URLSearchParams(location.search).get("state") || "", last = null;

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
    for (const chip of chips.children) {
      chip.toggleAttribute("aria-current", chip.dataset.state === state);
      if (chip.dataset.state === state) chip.setAttribute("aria-current", "true");
      const count = chip.querySelector("span"), now = String(counts[chip.dataset.state] || 0);
      if (count && count.textContent !== now) count.textContent = now;
    }
    document.getElementById("sieve-none").hidden = fit > 0 || !list().length;
    tell();
  }

  function keep() {
    const words = new URLSearchParams();
    if (state) words.set("state", state);
    if (field.value.trim()) words.set("q", field.value.trim());
    history.replaceState(null, "", location.pathname + (words.size ? `?${words}` : ""));
    sieve();
  }

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
