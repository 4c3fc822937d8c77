// Dialogs over the page: confirmations, modals of the app, short notices.

import { post } from "/page/api.js";
import { blockNodes, inputId } from "/page/blocks.js";
import { h, icon } from "/page/dom.js";
import { textObject } from "/page/mrkdwn.js";
import { state } from "/page/store.js";

const layer = () => document.getElementById("dialogs");

/** Shows a short notice for a few seconds. */
export function toast(text, { bad = false } = {}) {
  const note = h("div", { class: bad ? "toast bad" : "toast" }, text);
  document.getElementById("toasts").append(note);
  setTimeout(() => note.remove(), 6000);
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

/** Asks with a confirm object; resolves to whether the person confirmed. */
export function ask(confirm) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "dialog confirm", "aria-label": confirm.title.text },
      h("h2", {}, ...textObject(confirm.title)),
      h("div", { class: "text" }, ...textObject(confirm.text)),
      h(
        "div",
        { class: "dialog-buttons" },
        h("button", { type: "button", class: "button", onclick: () => dialog.close("no") }, ...textObject(confirm.deny)),
        h("button", { type: "button", class: `button ${confirm.style || "primary"}`, onclick: () => dialog.close("yes") },
          ...textObject(confirm.confirm)),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    layer().append(dialog);
    dialog.showModal();
  });
}

// --- the app's modals

const drafts = new Map();
let shown = null;

/** Shows the top modal of the acting person, or none. */
export function drawModal() {
  const view = (state.modals[state.acting] || []).at(-1);
  if (!view) {
    shown?.dialog.remove();
    shown = null;
    drafts.clear();
    return;
  }
  if (shown && shown.view.id === view.id && shown.view.hash === view.hash) return;
  const dialog = shown?.dialog || openDialog();
  shown = { dialog, view, errors: {} };
  fill();
}

function openDialog() {
  const dialog = h("dialog", { class: "dialog modal" });
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  layer().append(dialog);
  dialog.showModal();
  return dialog;
}

function close({ everything = false } = {}) {
  const { view } = shown;
  attempt(() => post(`/control/views/${view.id}/close`, { user: state.acting, everything: everything || view.clear_on_close }));
}

function fill() {
  const { dialog, view } = shown;
  const focused = dialog.contains(document.activeElement) ? document.activeElement.id : "";
  const submit = view.submit && h("button", { type: "submit", class: "button primary" }, ...textObject(view.submit));
  const form = h(
    "form",
    { novalidate: true, onsubmit: (event) => { event.preventDefault(); send(submit); } },
    h("header", {}, h("h2", {}, ...textObject(view.title)),
      h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => close({ everything: true }) }, icon("close"))),
    h("div", { class: "modal-body" }, blockNodes(view.blocks, viewSurface(view, shown))),
    h("footer", { class: "dialog-buttons" },
      h("button", { type: "button", class: "button", onclick: () => close() }, ...(view.close ? textObject(view.close) : ["Close"])),
      submit),
  );
  dialog.setAttribute("aria-label", view.title?.text || "Dialog");
  dialog.replaceChildren(form);
  (document.getElementById(focused) || dialog.querySelector("[autofocus], .modal-body input, .modal-body textarea, .modal-body select"))?.focus();
}

async function send(submit) {
  const { view } = shown;
  submit.setAttribute("aria-busy", "true");
  const outcome = await attempt(() =>
    post(`/control/views/${view.id}/submit`, { user: state.acting, values: drafts.get(view.id) || {} }));
  submit.removeAttribute("aria-busy");
  if (!outcome || !shown || shown.view.id !== view.id) return;
  shown.errors = outcome.errors || {};
  if (Object.keys(shown.errors).length === 0) return;
  fill();
  const first = view.blocks.find((block) => shown.errors[block.block_id]);
  if (first) document.getElementById(inputId({ name: view.id }, first))?.focus();
}

/** What blocks in a view do: keep drafts by view, report to the app through /control. */
export function viewSurface(view, holder = {}) {
  return {
    name: view.id,
    get errors() { return holder.errors || {}; },
    values: () => drafts.get(view.id) || {},
    set(block, element, value) {
      const kept = drafts.get(view.id) || {};
      kept[block.block_id] = { ...kept[block.block_id], [element.action_id]: value };
      drafts.set(view.id, kept);
    },
    use: (block, element, value) =>
      attempt(() => post("/control/click", {
        view_id: view.id, action_id: element.action_id, block_id: block.block_id, user: state.acting,
        value: value ?? null, values: drafts.get(view.id) || {},
      })),
    async suggest(element, typed) {
      const found = await attempt(() =>
        post("/control/suggest", { view_id: view.id, action_id: element.action_id, user: state.acting, typed }));
      return found?.options || [];
    },
  };
}
