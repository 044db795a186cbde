// Tells of what waits while nobody looks: the tab's title and icon, and, if this browser is to, a notification and a sound.
"use strict";

(() => {
  const place = document.getElementById("outside"), icon = document.querySelector("link[rel=icon]");
  if (!place) return;

  const EVERY = 15_000, APART = 3_000; // ms between two looks, and the least when something changes
  const wants = (how) => localStorage.getItem(`tell-${how}`) === "on";

  // ---- looking

  let last = 0, soon = 0;

  async function look() {
    // While the link is down the page says so itself; asking would fail.
    if (document.body.dataset.live && link.socket?.readyState !== WebSocket.OPEN) return;
    last = Date.now();
    const answer = await fetch(place.dataset.waits).catch(() => null);
    // Signed out meanwhile, it is the sign-in page that comes.
    if (!answer?.ok || answer.redirected) return;
    const found = await answer.json();
    show(found);
    tell(found);
  }

  function changed() {
    clearTimeout(soon);
    soon = setTimeout(look, Math.max(200, last + APART - Date.now()));
  }

  function show(found) {
    document.title = document.title.replace(/^(\(\d+\) )?/, found.pending ? `(${found.pending}) ` : "");
    const href = icon.dataset[found.icon];
    if (icon.getAttribute("href") !== href) icon.setAttribute("href", href);
    const words = found.outside.join(" · ");
    if (place.textContent !== words) place.textContent = words;
    place.hidden = !words;
  }

  // ---- telling

  function tell(found) {
    const told = new Set(JSON.parse(localStorage.getItem("told") || "[]"));
    const fresh = found.waits.filter((one) => !told.has(one.key));
    localStorage.setItem("told", JSON.stringify(found.waits.map((one) => one.key)));
    if (document.visibilityState === "visible") localStorage.setItem("looking", Date.now());
    // Whoever has this tab or another of ours before their eyes sees it anyway.
    const seen = Date.now() - Number(localStorage.getItem("looking") || 0) < EVERY;
    if (!fresh.length || found.muted || seen) return;
    if (wants("notification")) notification(fresh);
    if (wants("sound")) sound();
  }

  function notification(fresh) {
    if (window.Notification?.permission !== "granted") return;
    const title = fresh.length > 1 ? `hyperhive: ${fresh.length} wait for you` : "hyperhive waits for you";
    const body = fresh.slice(0, 3).map((one) => one.text).join("\n");
    const shown = new Notification(title, { body, tag: "hyperhive", icon: icon.href });
    shown.onclick = () => {
      focus();
      location.assign(fresh.length > 1 ? "/" : fresh[0].url);
    };
  }

  let speaker = null;

  function sound() {
    speaker ||= new AudioContext();
    speaker.resume();
    for (const [at, pitch] of [[0, 660], [0.16, 880]]) {
      const tone = speaker.createOscillator(), loudness = speaker.createGain(), start = speaker.currentTime + at;
      tone.frequency.value = pitch;
      loudness.gain.setValueAtTime(0.12, start);
      loudness.gain.exponentialRampToValueAtTime(0.001, start + 0.15);
      tone.connect(loudness).connect(speaker.destination);
      tone.start(start);
      tone.stop(start + 0.15);
    }
  }

  // ---- the buttons: nothing is asked for until one is pressed

  function press(button) {
    const how = button.dataset.tell;
    const said = (on) => {
      localStorage.setItem(`tell-${how}`, on ? "on" : "off");
      button.setAttribute("aria-pressed", on);
    };
    if (wants(how)) said(false);
    else if (how === "sound") said(true), sound();
    else Notification.requestPermission().then((permission) => {
      said(permission === "granted");
      if (permission !== "granted") button.textContent = "the browser does not allow it";
    });
  }

  for (const button of document.querySelectorAll("[data-tell]")) {
    button.hidden = button.dataset.tell === "notification" && !(window.Notification && isSecureContext);
    button.setAttribute("aria-pressed", wants(button.dataset.tell));
    button.addEventListener("click", () => press(button));
  }

  for (const part of document.querySelectorAll("#part-vitals, #part-hero")) {
    new MutationObserver(changed).observe(part, { childList: true, subtree: true, attributes: true, attributeFilter: ["data-pending"] });
  }
  document.addEventListener("visibilitychange", changed);
  setInterval(look, EVERY);
  changed();
})();
