// The app's Home tab: its view as the app published it, changed when the app publishes another.

import { blockNodes } from "/page/blocks.js";
import { focusOn, h, icon } from "/page/dom.js";
import { viewSurface } from "/page/surfaces.js";
import { conversationWithApp, HOME } from "/page/place.js";
import { state } from "/page/store.js";

const shown = new WeakMap();

/** Home and Messages, as one goes between them. */
export function homeTabs(current) {
  const tabs = [[HOME, "Home"], [conversationWithApp()?.id, "Messages"]];
  return h("nav", { class: "tabs", "aria-label": state.app.name }, tabs.filter(([id]) => id).map(([id, title]) =>
    h("a", { href: `#/${id}`, "aria-current": id === current ? "page" : null }, title)));
}

export function drawHome(node) {
  const view = state.homes[state.acting];
  const version = view ? `${view.id} ${view.hash}` : state.acting;
  const active = document.activeElement;
  const typing = node.contains(active) && active.matches("input, textarea, select");
  if (shown.get(node) === version || typing) return;
  shown.set(node, version);
  const key = node.contains(active) ? active.dataset.key : null;
  node.replaceChildren(view
    ? h("div", { class: "home-body" }, blockNodes(view.blocks, viewSurface(view)))
    : h("div", { class: "empty" }, h("span", { class: "empty-mark" }, icon("home")), h("h2", {}, state.app.name),
      h("p", {}, "The app has not published its Home tab yet.")));
  if (key) focusOn(node, key);
}
