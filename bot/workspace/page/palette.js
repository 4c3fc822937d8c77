// Ctrl K: go to a conversation by its name.

import { combobox } from "/page/combobox.js";
import { h, icon } from "/page/dom.js";
import { go, HOME } from "/page/place.js";
import { conversations, state, titleOf } from "/page/store.js";
import { unread } from "/page/unread.js";

function destinations() {
  const { rooms, direct } = conversations();
  const all = [...rooms, ...direct].map((channel) => ({
    id: channel.id, label: titleOf(channel), mark: channel.is_channel ? "hash" : "reply", note: unread(channel.id).count ? "new" : "",
  }));
  return [...all, { id: HOME, label: `${state.app.name} home`, mark: "home", note: "" }];
}

export function openPalette() {
  if (document.querySelector("dialog[open]")) return;
  const { node, field } = combobox({
    id: "palette", label: "Go to a conversation", placeholder: "Go to…", always: true,
    find: (typed) => destinations().filter(({ label }) => label.toLowerCase().includes(typed.trim().toLowerCase())),
    show: ({ label, mark, note }) => [icon(mark), h("span", {}, label), note && h("small", {}, note)],
    pick: ({ id }) => { dialog.close(); go(id); },
  });
  const dialog = h("dialog", { class: "dialog palette", "aria-label": "Go to a conversation" }, node);
  dialog.addEventListener("close", () => dialog.remove());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
  document.getElementById("dialogs").append(dialog);
  dialog.showModal();
  field.focus();
}
