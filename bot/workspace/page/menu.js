// Menus: a button that opens a list of actions; arrows move, Enter takes, Esc closes and gives the focus back.

import { h, icon } from "/page/dom.js";

let open = null;

export function menuIsOpen() {
  return open !== null;
}

function close({ refocus = true } = {}) {
  if (!open) return;
  const { button, list } = open;
  open = null;
  list.remove();
  button.setAttribute("aria-expanded", "false");
  if (refocus) button.focus();
}

/** Below the button if there is room, else above it; never beyond the window. */
function putBeside(list, button) {
  const box = button.getBoundingClientRect();
  const { offsetWidth: width, offsetHeight: height } = list;
  const below = box.bottom + 4;
  list.style.left = `${Math.max(8, Math.min(box.right - width, innerWidth - width - 8))}px`;
  list.style.top = `${below + height > innerHeight - 8 ? Math.max(8, box.top - height - 4) : below}px`;
}

function keys(event) {
  const items = [...open.list.querySelectorAll("[role=menuitem]")];
  const at = items.indexOf(document.activeElement);
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
  if (to !== undefined) {
    event.preventDefault();
    items.at(to % items.length).focus();
  } else if (event.key === "Escape") {
    event.preventDefault();
    event.stopPropagation();
    close();
  } else if (event.key === "Tab") {
    close();
  }
}

function show(button, label, items) {
  const list = h("div", { class: "menu-items", role: "menu", "aria-label": label }, items.map((item) =>
    h("button", { type: "button", role: "menuitem", tabindex: "-1", onclick: () => { close(); item.act(); } },
      item.icon && icon(item.icon), h("span", {}, item.label, item.note && h("small", {}, item.note)))));
  list.addEventListener("keydown", keys);
  (button.closest("dialog") || document.body).append(list);
  const { left, top } = button.getBoundingClientRect();
  open = { button, list, left, top };
  button.setAttribute("aria-expanded", "true");
  putBeside(list, button);
  list.querySelector("[role=menuitem]").focus();
}

/** A button with the given properties and content; `items()` gives [{label, note, icon, act}] when it is pressed. */
export function menuButton(props, content, items) {
  const button = h("button", {
    type: "button", "aria-haspopup": "menu", "aria-expanded": "false", ...props,
    onclick: () => {
      if (open?.button === button) return close();
      close({ refocus: false });
      return show(button, props["aria-label"] || "Menu", items());
    },
    onkeydown: (event) => {
      if (event.key !== "ArrowDown" || open) return;
      event.preventDefault();
      show(button, props["aria-label"] || "Menu", items());
    },
  }, content);
  return button;
}

document.addEventListener("pointerdown", (event) => {
  if (open && !open.list.contains(event.target) && !open.button.contains(event.target)) close({ refocus: false });
}, true);
// What was scrolled before it opened, as into view by the focus, is told only now: the menu still stands by its button.
for (const moved of ["scroll", "resize"]) addEventListener(moved, () => {
  if (!open) return;
  const { left, top } = open.button.getBoundingClientRect();
  if (left !== open.left || top !== open.top) close({ refocus: false });
}, true);
