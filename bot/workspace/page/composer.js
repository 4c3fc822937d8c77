// The box for messages and slash commands.

import { post } from "/page/api.js";
import { attempt } from "/page/dialogs.js";
import { h, icon } from "/page/dom.js";
import { state } from "/page/store.js";

const drafts = new Map();

export function composer({ channel, thread = null, placeholder }) {
  const key = `${state.acting} ${channel} ${thread || ""}`;
  const field = h("textarea", { rows: "1", placeholder, "aria-label": placeholder, value: drafts.get(key) || "" });
  const commands = h("ul", { class: "commands", role: "listbox", "aria-label": "Commands", hidden: true });
  const button = h("button", { type: "submit", class: "send", "aria-label": "Send" }, icon("send"));
  const form = h("form", { class: "composer", onsubmit: (event) => { event.preventDefault(); submit(); } }, commands,
    h("div", { class: "composer-box" }, field, button),
    h("p", { class: "composer-hint" }, h("kbd", {}, "Enter"), " sends, ", h("kbd", {}, "Shift Enter"), " breaks the line",
      state.commands.length > 0 && [", ", h("kbd", {}, "/"), " shows the commands"]));

  function resize() {
    field.style.height = "auto";
    field.style.height = `${Math.min(field.scrollHeight, 200)}px`;
  }

  function suggest() {
    const typed = field.value;
    const found = typed.startsWith("/") && !typed.includes(" ") ? state.commands.filter((command) => command.name.startsWith(typed)) : [];
    commands.replaceChildren(...found.map((command) => h("li", { role: "option", onmousedown: (event) => { event.preventDefault(); complete(command); } },
      h("strong", {}, command.name), " ", h("span", {}, command.usage_hint), h("small", {}, command.description))));
    commands.hidden = found.length === 0;
    return found;
  }

  function complete(command) {
    field.value = `${command.name} `;
    field.focus();
    suggest();
  }

  async function submit() {
    const text = field.value.trim();
    if (!text) return;
    field.value = "";
    drafts.delete(key);
    resize();
    suggest();
    if (text.startsWith("/") && !text.startsWith("//")) {
      const [command, ...rest] = text.split(" ");
      form.setAttribute("aria-busy", "true");
      await attempt(async () => ({ ...(await post("/control/command", {
        channel, user: state.acting, command, text: rest.join(" "), thread_ts: thread,
      })), notice: null }));
      form.removeAttribute("aria-busy");
    } else {
      await attempt(() => post("/control/say", { channel, user: state.acting, text, thread_ts: thread }));
    }
  }

  field.addEventListener("input", () => { drafts.set(key, field.value); resize(); suggest(); });
  field.addEventListener("blur", () => { commands.hidden = true; });
  field.addEventListener("keydown", (event) => {
    const found = commands.hidden ? [] : suggest();
    if (event.key === "Tab" && found.length && field.value !== found[0].name) {
      event.preventDefault();
      complete(found[0]);
    } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      submit();
    } else if (event.key === "Escape" && !commands.hidden) {
      event.stopPropagation();
      commands.hidden = true;
    }
  });
  return form;
}
