// Short notices at the edge of the page, and what a screen reader is told.

import { h } from "/page/dom.js";

const SECONDS = 6;

/** Shows a short notice for a few seconds. */
export function toast(text, { bad = false } = {}) {
  const note = h("div", { class: bad ? "toast bad" : "toast" }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), SECONDS * 1000);
}

/** Says something to those who can't see the page. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Runs an action of the person; what is refused becomes a notice. */
export async function attempt(action) {
  try {
    const outcome = await action();
    if (outcome?.notice) toast(outcome.notice, { bad: true });
    return outcome;
  } catch (error) {
    toast(error.message, { bad: true });
    return null;
  }
}
