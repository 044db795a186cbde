// What is asked before it is done: the page that asks, shown as a dialog.
"use strict";

(() => {
  let dialog = null;

  function made() {
    const it = document.createElement("dialog");
    it.className = "dlg";
    it.setAttribute("aria-labelledby", "h-ask");
    it.addEventListener("htmx:afterRequest", answered);
    document.body.append(it);
    return it;
  }

  function addressOf(form, submitter) {
    if (submitter?.hasAttribute("formaction")) return submitter.getAttribute("formaction");
    return `${form.getAttribute("action")}?${new URLSearchParams(new FormData(form))}`;
  }

  async function ask(address) {
    dialog ||= made();
    let refused = false;
    const note = (event) => (refused ||= event.detail.xhr.status >= 400);
    const page = location.pathname + location.search;
    const whole = `${address}${address.includes("?") ? "&" : "?"}next=${encodeURIComponent(page)}`;
    dialog.addEventListener("htmx:beforeSwap", note);
    // A refusal is the toast, out of band, and no dialog.
    await htmx.ajax("GET", whole, { target: dialog, source: dialog, swap: "innerHTML" });
    dialog.removeEventListener("htmx:beforeSwap", note);
    if (refused || dialog.open) return;
    dialog.showModal();
    dialog.querySelector("[autofocus], input:not([type=hidden], [type=checkbox])")?.focus();
  }

  addEventListener("submit", (event) => {
    if (!event.target.matches("form[data-asks]")) return;
    event.preventDefault();
    ask(addressOf(event.target, event.submitter));
  });

  addEventListener("click", (event) => {
    const link = event.target.closest?.("a[data-ask]");
    if (link) {
      event.preventDefault();
      link.closest("dialog")?.close();
      ask(link.getAttribute("href"));
    } else if (event.target.closest?.("[data-close]") && dialog?.open) {
      event.preventDefault();
      dialog.close();
    }
  });

  // Done, it closes; refused, it says so itself, since what lies behind a dialog is out of reach.
  function answered(event) {
    if (!event.detail.elt.matches("form[method=post]")) return;
    if (event.detail.xhr.status > 0 && event.detail.xhr.status < 400) return dialog.close();
    const said = document.querySelector("#toast span")?.textContent;
    dialog.querySelector("[data-refusal]").textContent = said || "The hive did not answer: try again.";
  }
})();
