// The sidebar as a drawer, on screens too narrow for both it and a conversation.

import { h, icon } from "/page/dom.js";

const app = () => document.getElementById("app");
const sidebar = () => document.getElementById("sidebar");
const narrow = matchMedia("(max-width: 720px)");

function set(open) {
  const was = drawer.isOpen();
  app().classList.toggle("show-sidebar", open);
  for (const id of ["room", "thread"]) document.getElementById(id).inert = open;
  const button = document.querySelector(".drawer-button");
  button?.setAttribute("aria-expanded", String(open));
  if (open && !was) sidebar().querySelector("button, a")?.focus();
  if (!open && was) button?.focus();
}

export const drawer = {
  isOpen: () => app().classList.contains("show-sidebar"),
  /** Whether the sidebar is out of sight. */
  isHidden: () => narrow.matches && !drawer.isOpen(),
  close: () => set(false),
  button: () => h("button", {
    type: "button", class: "quiet drawer-button", "aria-label": "Channels and people", "aria-expanded": "false",
    "aria-controls": "sidebar", onclick: () => set(!drawer.isOpen()),
  }, icon("menu")),
};

narrow.addEventListener("change", () => set(false));
document.addEventListener("pointerdown", (event) => {
  if (drawer.isOpen() && !sidebar().contains(event.target) && !event.target.closest(".tour")) set(false);
});
