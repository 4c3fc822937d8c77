// A text field with a list of what fits: arrows choose, Enter takes, Esc closes.

import { h } from "/page/dom.js";

const WAIT_MS = 120;

/**
 * {node, field} of a combobox. `find(typed)` gives the entries (or a promise of them, or null for "not yet"), `show(entry)` an
 * entry's content, `pick(entry)` takes one. `always`: the list stays open.
 */
export function combobox({ id, label, placeholder, value = "", always = false, find, show, pick, typed = () => {} }) {
  const listId = `${id}-list`;
  const list = h("div", { class: "suggestions", role: "listbox", id: listId, "aria-label": label || placeholder, hidden: !always });
  const field = h("input", {
    id, type: "text", role: "combobox", autocomplete: "off", "aria-autocomplete": "list", "aria-expanded": String(always),
    "aria-controls": listId, "aria-label": label, placeholder, value,
  });
  const status = h("span", { class: "unseen", role: "status" });
  let entries = [];
  let at = -1;
  let number = 0;
  let timer = 0;
  let due = false;

  function close() {
    clearTimeout(timer);
    due = false;
    number += 1;
    if (always) return;
    list.hidden = true;
    field.setAttribute("aria-expanded", "false");
    field.removeAttribute("aria-activedescendant");
  }

  function choose(index) {
    at = entries.length ? (index + entries.length) % entries.length : -1;
    list.querySelectorAll("[role=option]").forEach((node, position) => node.setAttribute("aria-selected", String(position === at)));
    const active = list.querySelector("[aria-selected=true]");
    active?.scrollIntoView({ block: "nearest" });
    if (active) field.setAttribute("aria-activedescendant", active.id);
    else field.removeAttribute("aria-activedescendant");
  }

  function take(entry) {
    close();
    pick(entry);
  }

  async function search() {
    const mine = ++number;
    due = false;
    const found = await find(field.value);
    if (mine !== number) return;
    if (found === null) return void close();
    entries = found;
    list.replaceChildren(...entries.map((entry, index) =>
      h("div", { role: "option", id: `${listId}-${index}`, "aria-selected": "false", onmousedown: (event) => { event.preventDefault(); take(entry); } }, show(entry))));
    if (!entries.length) list.replaceChildren(h("div", { class: "none", role: "option", "aria-disabled": "true", "aria-selected": "false" }, "Nothing found"));
    status.textContent = entries.length === 1 ? "1 suggestion" : `${entries.length} suggestions`;
    list.hidden = false;
    field.setAttribute("aria-expanded", "true");
    choose(entries.length ? 0 : -1);
  }

  const soon = () => { due = true; clearTimeout(timer); timer = setTimeout(search, WAIT_MS); };
  field.addEventListener("input", () => { typed(field.value); soon(); });
  field.addEventListener("focus", search);
  field.addEventListener("blur", close);
  field.addEventListener("keydown", (event) => {
    if (list.hidden) {
      if (event.key === "ArrowDown") { event.preventDefault(); search(); }
      return;
    }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      choose(at + (event.key === "ArrowDown" ? 1 : -1));
    } else if (event.key === "Enter") {
      event.preventDefault();
      // Who types fast presses Enter before the list has caught up.
      Promise.resolve(due && search()).then(() => { if (entries[at]) take(entries[at]); });
    } else if (event.key === "Escape" && !always) {
      event.preventDefault();
      event.stopPropagation();
      close();
    }
  });
  return { node: h("div", { class: "combobox" }, field, list, status), field, search };
}
