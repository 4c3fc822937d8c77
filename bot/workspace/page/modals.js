// The app's modals: the top one of the acting person's stack.

import { post } from "/page/api.js";
import { blockNodes, inputId } from "/page/blocks.js";
import { focusOn, h, icon } from "/page/dom.js";
import { textObject } from "/page/mrkdwn.js";
import { attempt } from "/page/notices.js";
import { state } from "/page/store.js";
import { forget, viewSurface } from "/page/surfaces.js";

const FIELDS = "input, textarea, select, button.element";
let shown = null;

/** Shows the top modal of the acting person, or none. */
export function drawModal() {
  const stack = state.modals[state.acting] || [];
  const view = stack.at(-1);
  if (!view) return dismiss();
  const same = shown && shown.view.id === view.id;
  if (same && shown.view.hash === view.hash) return undefined;
  if (shown && !same && !stack.some(({ id }) => id === shown.view.id)) forget(shown.view.id);
  const { dialog, opener } = shown || open();
  shown = { dialog, opener, view, depth: stack.length, surface: viewSurface(view) };
  return fill({ same });
}

function open() {
  const active = document.activeElement;
  const row = active.closest?.("[data-ts]");
  const opener = { id: row?.id, key: active.closest?.("[data-key]")?.dataset.key, node: active };
  const dialog = h("dialog", { class: "dialog modal" });
  dialog.addEventListener("cancel", (event) => {
    event.preventDefault();
    close();
  });
  // Browsers let a page stay open after one Escape, not after the next: what they closed stands until its view is gone.
  dialog.addEventListener("close", () => { if (shown?.dialog === dialog) dialog.showModal(); });
  document.getElementById("dialogs").append(dialog);
  dialog.showModal();
  return { dialog, opener };
}

/** Takes the dialog away; the focus goes back to what opened it, even if that was drawn anew meanwhile. */
function dismiss() {
  if (!shown) return;
  const { dialog, opener, view } = shown;
  shown = null;
  forget(view.id);
  dialog.close();
  dialog.remove();
  if (opener.node.isConnected && opener.node !== document.body) return void opener.node.focus();
  const row = opener.id && document.getElementById(opener.id);
  if (row && opener.key) focusOn(row, opener.key);
  if (document.activeElement === document.body) (row || document.querySelector(".composer textarea"))?.focus();
}

function close({ everything = false } = {}) {
  const { view } = shown;
  attempt(() => post(`/control/views/${view.id}/close`, { user: state.acting, everything: everything || view.clear_on_close }));
}

/** Draws the view. In the `same` view, who types goes on typing where they were. */
function fill({ same = false } = {}) {
  const { dialog, view, surface, depth } = shown;
  const before = same && dialog.contains(document.activeElement) ? document.activeElement : null;
  const place = before && { id: before.id, key: before.dataset.key, start: before.selectionStart ?? null };
  const scrolled = same ? dialog.querySelector(".modal-body")?.scrollTop : 0;
  const submit = view.submit && h("button", { type: "submit", class: "button primary" }, ...textObject(view.submit));
  dialog.setAttribute("aria-labelledby", "modal-title");
  dialog.replaceChildren(h(
    "form",
    { novalidate: true, onsubmit: (event) => { event.preventDefault(); send(submit); } },
    h("header", {},
      depth > 1 && h("button", { type: "button", class: "quiet", "aria-label": "Back", onclick: () => close() }, icon("back")),
      h("h2", { id: "modal-title" }, ...textObject(view.title)),
      h("button", { type: "button", class: "quiet", "aria-label": "Close", onclick: () => close({ everything: true }) }, icon("close"))),
    h("div", { class: "modal-body", tabindex: "-1" }, blockNodes(view.blocks, surface)),
    h("footer", { class: "dialog-buttons" },
      h("button", { type: "button", class: "button", onclick: () => close() }, ...(view.close ? textObject(view.close) : ["Close"])),
      submit),
  ));
  const body = dialog.querySelector(".modal-body");
  body.scrollTop = scrolled || 0;
  if (body.scrollHeight > body.clientHeight) body.tabIndex = 0;
  settleFocus(dialog, place);
}

function settleFocus(dialog, place) {
  const again = place?.id && document.getElementById(place.id);
  if (again) {
    again.focus({ preventScroll: true });
    if (place.start !== null && "setSelectionRange" in again && again.type === "text") again.setSelectionRange(place.start, place.start);
    return;
  }
  if (place?.key) focusOn(dialog, place.key);
  if (dialog.contains(document.activeElement) && document.activeElement !== dialog) return;
  const first = dialog.querySelector("[autofocus]") || dialog.querySelector(".modal-body").querySelector(FIELDS);
  (first || dialog.querySelector("footer button"))?.focus({ preventScroll: !first });
}

async function send(submit) {
  if (!submit) return;
  const { view, surface } = shown;
  submit.setAttribute("aria-busy", "true");
  const outcome = await attempt(() => post(`/control/views/${view.id}/submit`, { user: state.acting, values: surface.values() }));
  submit.removeAttribute("aria-busy");
  if (!outcome || !shown || shown.view.id !== view.id) return;
  surface.errors = outcome.errors || {};
  const first = view.blocks.find((block) => surface.errors[block.block_id]);
  if (!first) return;
  fill({ same: true });
  const wrong = document.getElementById(inputId(surface, first));
  (wrong?.matches("input, textarea, select") ? wrong : wrong?.querySelector("input"))?.focus();
}
