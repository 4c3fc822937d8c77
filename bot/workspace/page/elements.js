// Interactive elements. Each shows the draft that its surface keeps, tells it of changes, and asks first where it must.

import { combobox } from "/page/combobox.js";
import { ask } from "/page/confirm.js";
import { follow, h, icon } from "/page/dom.js";
import { menuButton } from "/page/menu.js";
import { textObject, unescape } from "/page/mrkdwn.js";
import { conversations, state, titleOf } from "/page/store.js";
import { fromWallTime, wallTime } from "/page/time.js";

/** `input`: the element of an input block, which reports only when the view is submitted, unless dispatch_action is set. */
export function elementNode(block, element, surface, { input = false, id = null } = {}) {
  const build = BUILD[element.type];
  if (!build) return h("span", { class: "unsupported" }, `An element of type ${element.type}`);
  const context = {
    block, element, surface, id,
    draft: (initial) => {
      const kept = surface.values()[block.block_id];
      return kept && element.action_id in kept ? kept[element.action_id] : initial;
    },
    change: (value) => {
      surface.set(block, element, value);
      if (!input || block.dispatch_action) use(block, element, surface, value);
    },
    keep: (value) => surface.set(block, element, value),
  };
  const node = build(context);
  node.classList.add("element", `element-${element.type}`);
  node.dataset.key = `${block.block_id} ${element.action_id}`;
  return node;
}

async function use(block, element, surface, value) {
  if (element.confirm && !(await ask(element.confirm))) return;
  await surface.use(block, element, value);
}

const label = (text) => unescape(text?.text || "");
const labelId = (id) => `${id}-label`;
const named = (context) => (context.id ? { "aria-labelledby": labelId(context.id) } : { "aria-label": label(context.element.placeholder) || "Choose" });
const options = (element) => [...(element.options || []), ...(element.option_groups || []).flatMap((group) => group.options)];

function button(context, node) {
  const { block, element, surface } = context;
  node.addEventListener("click", async () => {
    follow(element.url);
    node.setAttribute("aria-busy", "true");
    try {
      await use(block, element, surface, undefined);
    } finally {
      node.removeAttribute("aria-busy");
    }
  });
  return node;
}

function typed(type, initial = "initial_value") {
  return (context) => {
    const { element, id } = context;
    const multiline = type === "textarea";
    const node = h(multiline ? "textarea" : "input", {
      id, type: multiline ? null : type, placeholder: label(element.placeholder), rows: multiline ? "4" : null,
      maxlength: element.max_length, min: element.min_value, max: element.max_value,
      step: element.is_decimal_allowed ? "any" : null,
      autofocus: element.focus_on_load, value: context.draft(element[initial] ?? "") ?? "",
    });
    node.addEventListener("input", () => context.keep(node.value));
    if (context.block.dispatch_action) dispatch(context, node);
    return node;
  };
}

const TYPING_MS = 350;

/** Reports while one types, or on Enter (usual), as dispatch_action_config says. */
function dispatch(context, node) {
  const when = context.element.dispatch_action_config?.trigger_actions_on || ["on_enter_pressed"];
  let timer = 0;
  if (when.includes("on_character_entered")) {
    node.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => context.change(node.value), TYPING_MS); });
  }
  if (when.includes("on_enter_pressed")) {
    node.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      context.change(node.value);
    });
  }
}

function picked(type, initial) {
  return (context) => {
    const { element, id } = context;
    const node = h("input", {
      id, type, "aria-label": id ? null : label(element.placeholder) || type, autofocus: element.focus_on_load,
      value: context.draft(element[initial] ?? "") ?? "",
    });
    node.addEventListener("change", () => context.change(node.value || null));
    return node;
  };
}

function select(context, choices, initial) {
  const { element, id } = context;
  const chosen = context.draft(initial ?? "");
  const node = h(
    "select",
    { id, "aria-label": id ? null : label(element.placeholder) || "Choose" },
    h("option", { value: "" }, label(element.placeholder) || "Choose…"),
    choices,
  );
  node.value = chosen ?? "";
  node.addEventListener("change", () => context.change(node.value || null));
  return node;
}

const choice = (option) => h("option", { value: option.value }, label(option.text));

function many(context, entries, initial) {
  const chosen = new Set(context.draft(initial ?? []));
  return h("div", { class: "choices", role: "group", ...named(context) },
    entries.map(({ value, content, description }) =>
      h("label", { class: "choice" },
        h("input", {
          type: "checkbox", value, checked: chosen.has(value),
          onchange: (event) => {
            if (event.target.checked) chosen.add(value);
            else chosen.delete(value);
            context.change([...chosen]);
          },
        }),
        h("span", {}, content, description && h("small", {}, description)))));
}

const entry = (option) => ({
  value: option.value, content: textObject(option.text), description: option.description && textObject(option.description),
});
const people = () => state.people.map((id) => ({ value: id, content: state.users.get(id).real_name }));
const rooms = () => conversations().rooms.map((c) => ({ value: c.id, content: `#${c.name}` }));

const KINDS = { public: (c) => c.is_channel, im: (c) => c.is_im, mpim: (c) => c.is_mpim, private: () => false };

/** The conversations that a select offers: those of the acting person, as far as the element's filter lets them. */
function places({ filter }) {
  const kinds = filter?.include;
  const { rooms: open, direct } = conversations();
  const withBots = !filter?.exclude_bot_users;
  return [...open, ...direct]
    .filter((c) => !kinds || kinds.some((kind) => KINDS[kind](c)))
    .filter((c) => withBots || !c.is_im || !c.members.includes(state.app.bot_user_id))
    .map((c) => ({ value: c.id, content: c.is_channel ? `#${c.name}` : titleOf(c) }));
}

function here({ element }) {
  const current = state.channels.has(state.place.channel) ? state.place.channel : undefined;
  return element.default_to_current_conversation ? current : element.initial_conversation;
}
const asChoice = ({ value, content }) => h("option", { value }, content);

function external(context, { multiple = false } = {}) {
  const { element, surface, id } = context;
  const before = context.draft(multiple ? element.initial_options || [] : element.initial_option || null);
  const chosen = multiple ? [...before] : [];
  const tags = h("div", { class: "tags" });
  const drawTags = () => tags.replaceChildren(...chosen.map((option, index) =>
    h("button", { type: "button", class: "tag", "aria-label": `Remove ${label(option.text)}`,
      onclick: () => { chosen.splice(index, 1); drawTags(); context.change([...chosen]); } }, label(option.text), icon("close"))));
  const box = combobox({
    id: id || `select-${surface.name}-${context.block.block_id}-${element.action_id}`,
    label: id ? null : label(element.placeholder) || "Choose",
    placeholder: label(element.placeholder) || "Type to search", value: multiple ? "" : label(before?.text),
    find: (typed) => (typed.length < (element.min_query_length ?? 3) ? null : surface.suggest(element, typed)),
    show: (option) => [h("span", {}, label(option.text)), option.description && h("small", {}, label(option.description))],
    typed: () => { if (!multiple) context.keep(null); },
    pick: (option) => {
      box.field.value = multiple ? "" : label(option.text);
      if (!multiple) return context.change(option);
      if (!chosen.some((other) => other.value === option.value)) chosen.push(option);
      drawTags();
      return context.change([...chosen]);
    },
  });
  drawTags();
  if (multiple) box.node.prepend(tags);
  return box.node;
}

function radio(context) {
  const { block, element, surface } = context;
  const chosen = context.draft(element.initial_option?.value ?? null);
  return h("div", { class: "choices", role: "radiogroup", ...named(context) },
    element.options.map((option) => {
      const { value, content, description } = entry(option);
      return h("label", { class: "choice" },
        h("input", { type: "radio", name: `${surface.name} ${block.block_id} ${element.action_id}`, value, checked: value === chosen,
          onchange: () => context.change(value) }),
        h("span", {}, content, description && h("small", {}, description)));
    }));
}

function overflow(context) {
  const { block, element, surface } = context;
  return menuButton({ class: "button more", "aria-label": "More" }, icon("more"), () => element.options.map((option) => ({
    label: label(option.text), note: option.description && label(option.description),
    act: () => {
      follow(option.url);
      use(block, element, surface, option.value);
    },
  })));
}

function feedback(context) {
  const { block, element, surface } = context;
  const one = (part, mark) => h("button", {
    type: "button", class: "quiet", title: label(part.text), "aria-label": part.accessibility_label || label(part.text),
    onclick: () => surface.use(block, element, part.value),
  }, mark);
  return h("span", {}, one(element.positive_button, "👍"), one(element.negative_button, "👎"));
}

const BUILD = {
  button: (context) => button(context, h("button", {
    type: "button", class: `button ${context.element.style || ""}`, "aria-label": context.element.accessibility_label,
  }, ...textObject(context.element.text))),
  icon_button: (context) => button(context, h("button", {
    type: "button", class: "quiet", title: label(context.element.text),
    "aria-label": context.element.accessibility_label || label(context.element.text),
  }, icon("trash"))),
  feedback_buttons: feedback,
  overflow,
  checkboxes: (c) => many(c, c.element.options.map(entry), c.element.initial_options?.map((option) => option.value)),
  radio_buttons: radio,
  static_select: (c) => select(c, c.element.option_groups
    ? c.element.option_groups.map((group) => h("optgroup", { label: label(group.label) }, group.options.map(choice)))
    : c.element.options.map(choice), c.element.initial_option?.value),
  multi_static_select: (c) => many(c, options(c.element).map(entry), c.element.initial_options?.map((option) => option.value)),
  external_select: (c) => external(c),
  multi_external_select: (c) => external(c, { multiple: true }),
  users_select: (c) => select(c, people().map(asChoice), c.element.initial_user),
  multi_users_select: (c) => many(c, people(), c.element.initial_users),
  channels_select: (c) => select(c, rooms().map(asChoice), c.element.initial_channel),
  multi_channels_select: (c) => many(c, rooms(), c.element.initial_channels),
  conversations_select: (c) => select(c, places(c.element).map(asChoice), here(c)),
  multi_conversations_select: (c) => many(c, places(c.element), c.element.initial_conversations),
  plain_text_input: (c) => typed(c.element.multiline ? "textarea" : "text")(c),
  rich_text_input: typed("textarea", "none"),
  email_text_input: typed("email"),
  url_text_input: typed("url"),
  number_input: typed("number"),
  datepicker: picked("date", "initial_date"),
  timepicker: picked("time", "initial_time"),
  datetimepicker: (c) => {
    const draft = c.draft(c.element.initial_date_time ?? null);
    const node = h("input", { type: "datetime-local", id: c.id, value: draft ? wallTime(draft) : "" });
    node.addEventListener("change", () => c.change(node.value ? fromWallTime(node.value) : null));
    return node;
  },
};
