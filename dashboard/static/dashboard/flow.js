// The messages: filtered by state, sender and recipient, which the address keeps.
"use strict";

(() => {
  const rows = document.getElementById("part-flow"), chips = document.getElementById("mail-chips");
  if (!chips) return;
  const form = document.getElementById("mail-sieve"), none = document.getElementById("mail-none");
  const { from, to } = form.elements;
  let mail = narrowed().get("mail") || "";

  const list = () => [...rows.querySelectorAll("li[data-mail]")];

  function sieve() {
    const counts = {};
    let fit = 0;
    for (const row of list()) {
      const { mail: state, from: sender, to: recipient } = row.dataset;
      counts[state] = (counts[state] || 0) + 1;
      row.hidden = Boolean((mail && state !== mail) || (from.value && sender !== from.value) || (to.value && recipient !== to.value));
      fit += row.hidden ? 0 : 1;
      for (const name of [sender, recipient]) known(name);
    }
    pressed(chips, "mail", mail, counts);
    none.hidden = fit > 0 || !list().length;
    const words = [from.value && `from:${from.value}`, to.value && `to:${to.value}`].filter(Boolean).join(" ");
    none.querySelector("[data-older]").search = words ? `?q=${encodeURIComponent(words)}` : "";
  }

  function known(name) {
    for (const field of [from, to]) if (![...field.options].some((option) => option.text === name)) field.add(new Option(name));
  }

  function keep() {
    narrow({ mail, from: from.value, to: to.value });
    sieve();
  }

  chips.addEventListener("click", (event) => {
    const chip = event.target.closest("a");
    if (!chip || event.ctrlKey || event.metaKey) return;
    event.preventDefault();
    mail = chip.dataset.mail;
    keep();
  });
  none.querySelector("[data-clear]").addEventListener("click", (event) => {
    event.preventDefault();
    mail = from.value = to.value = "";
    keep();
    chips.querySelector("a").focus();
  });
  form.addEventListener("change", keep);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.querySelector("button").hidden = true;

  // What comes live comes unfiltered: a row is put in its place, then looked at.
  new MutationObserver(sieve).observe(rows, { childList: true });
  sieve();
})();
