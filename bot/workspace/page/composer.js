// The box for messages and slash commands.

import { post } from "/page/api.js";
import { completionsFor } from "/page/completions.js";
import { h, icon } from "/page/dom.js";
import { menuButton } from "/page/menu.js";
import { attempt } from "/page/notices.js";
import { state } from "/page/store.js";

const MOST_PIXELS = 200;
const drafts = new Map();

/** Puts `text` into a composer as if it had been typed, and the focus after it. */
export function write(field, text) {
  field.value = text;
  field.focus();
  field.dispatchEvent(new Event("input"));
}

export function composer({ channel, thread = null, placeholder }) {
  const key = `${state.acting} ${channel} ${thread || ""}`;
  const listId = `completions-${thread ? "thread" : "room"}`;
  const field = h("textarea", {
    rows: "1", placeholder, "aria-label": placeholder, "aria-autocomplete": "list", "aria-controls": listId, value: drafts.get(key) || "",
  });
  const list = h("div", { class: "completions", role: "listbox", id: listId, "aria-label": "Suggestions", hidden: true });
  const form = h("form", { class: "composer", onsubmit: (event) => { event.preventDefault(); submit(); } }, list,
    h("div", { class: "composer-box" }, shortcuts(), field, h("button", { type: "submit", class: "send", "aria-label": "Send" }, icon("send"))),
    !thread && h("p", { class: "composer-hint" }, h("kbd", {}, "Enter"), " sends · ", h("kbd", {}, "Shift Enter"), " new line · ",
      h("kbd", {}, "/"), " commands · ", h("kbd", {}, "Ctrl K"), " go to"));
  let found = { start: 0, entries: [] };
  let at = 0;

  function shortcuts() {
    const offered = state.shortcuts.filter(({ kind }) => kind === "global");
    const commands = thread ? [] : state.commands;
    if (!offered.length && !commands.length) return null;
    return menuButton({ class: "quiet", "aria-label": "Shortcuts", title: "Shortcuts" }, icon("bolt"), () => [
      ...offered.map((one) => ({
        label: one.name, note: one.description, icon: "bolt",
        act: () => attempt(() => post("/control/shortcut", { callback_id: one.callback_id, user: state.acting })),
      })),
      ...commands.map((one) => ({ label: one.name, note: one.description, icon: "send", act: () => write(field, `${one.name} `) })),
    ]);
  }

  function resize() {
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, MOST_PIXELS)}px`;
  }

  function show(entries) {
    list.replaceChildren(...entries.map((entry, index) =>
      h("div", { role: "option", id: `${listId}-${index}`, "aria-selected": String(index === at), onmousedown: (event) => { event.preventDefault(); complete(entry); } },
        h("strong", {}, entry.label), entry.hint && h("span", {}, ` ${entry.hint}`), entry.note && h("small", {}, entry.note))));
    list.hidden = entries.length === 0;
    if (entries.length) field.setAttribute("aria-activedescendant", `${listId}-${at}`);
    else field.removeAttribute("aria-activedescendant");
  }

  function suggest() {
    found = completionsFor(field.value.slice(0, field.selectionStart));
    at = 0;
    show(found.entries);
  }

  function complete({ insert }) {
    const rest = field.value.slice(field.selectionStart);
    const before = `${field.value.slice(0, found.start)}${insert} `;
    field.value = before + rest;
    field.setSelectionRange(before.length, before.length);
    drafts.set(key, field.value);
    suggest();
  }

  async function submit() {
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    drafts.delete(key);
    resize();
    suggest();
    if (text.startsWith("/") && !text.startsWith("//")) await command(text);
    else await attempt(() => post("/control/say", { channel, user: state.acting, text, thread_ts: thread }));
  }

  async function command(text) {
    const [name, ...rest] = text.split(" ");
    form.setAttribute("aria-busy", "true");
    // What goes wrong with a command stands in the conversation already.
    await attempt(async () => ({ ...(await post("/control/command", {
      channel, user: state.acting, command: name, text: rest.join(" "), thread_ts: thread,
    })), notice: null }));
    form.removeAttribute("aria-busy");
  }

  /** Whether a key belonged to the list of suggestions. */
  function choose(event) {
    const { entries } = found;
    if (list.hidden || event.isComposing) return false;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const done = entries.some(({ insert }) => insert === field.value.trim());
    if (step) {
      at = (at + step + entries.length) % entries.length;
      show(entries);
    } else if (event.key === "Tab" || (event.key === "Enter" && !event.shiftKey && !done)) {
      complete(entries[at]);
    } else if (event.key === "Escape") {
      event.stopPropagation();
      show([]);
    } else {
      return false;
    }
    event.preventDefault();
    return true;
  }

  field.addEventListener("input", () => { drafts.set(key, field.value); resize(); suggest(); });
  field.addEventListener("blur", () => show([]));
  field.addEventListener("keydown", (event) => {
    if (choose(event) || event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  });
  return form;
}
