// Block Kit as DOM. `surface` says where the blocks stand and what happens when an element is used:
// {values(): drafts by block_id and action_id, set(block, element, value), use(block, element, value), suggest(element, typed),
//  errors: block_id → sentence}.

import { h, icon, link, safeUrl } from "/page/dom.js";
import { elementNode } from "/page/elements.js";
import { groupMention, markdown, mention, plain, room, textObject } from "/page/mrkdwn.js";
import { emoji } from "/page/emoji.js";
import { state } from "/page/store.js";
import { formatDate } from "/page/time.js";

export function blockNodes(blocks, surface) {
  return (blocks || []).map((block) => blockNode(block, surface));
}

function blockNode(block, surface) {
  const draw = DRAW[block.type];
  const node = draw ? draw(block, surface) : h("div", { class: "unsupported" }, `A block of type ${block.type}`);
  node.classList.add("block", `block-${block.type}`);
  return node;
}

export function picture(image, className = "") {
  const url = image.slack_file ? slackFileUrl(image.slack_file) : safeUrl(image.image_url);
  if (!url) return h("span", { class: "missing-picture" }, icon("file"), image.alt_text);
  return h("img", { src: url, alt: image.alt_text, class: className, loading: "lazy" });
}

function slackFileUrl(file) {
  return file.id ? `/files/${encodeURIComponent(file.id)}/picture` : safeUrl(file.url);
}

const DRAW = {
  header: (block) => h("h3", {}, ...textObject(block.text)),
  divider: () => h("hr"),
  markdown: (block) => h("div", { class: "markdown" }, ...markdown(block.text)),
  rich_text: (block) => h("div", {}, ...richText(block)),
  section(block, surface) {
    return h(
      "div",
      { class: block.accessory ? "with-accessory" : "" },
      h(
        "div",
        { class: "section-body" },
        block.text && h("div", { class: "text" }, ...textObject(block.text)),
        block.fields && h("div", { class: "fields" }, block.fields.map((field) => h("div", { class: "field" }, ...textObject(field)))),
      ),
      block.accessory && h("div", { class: "accessory" }, accessory(block, surface)),
    );
  },
  context: (block) =>
    h("div", {}, block.elements.map((element) =>
      element.type === "image" ? picture(element) : h("span", {}, ...textObject(element)))),
  actions: (block, surface) => h("div", {}, block.elements.map((element) => elementNode(block, element, surface))),
  context_actions: (block, surface) => h("div", {}, block.elements.map((element) => elementNode(block, element, surface))),
  image: (block) => h("figure", {}, block.title && h("figcaption", {}, ...textObject(block.title)), picture(block)),
  input(block, surface) {
    const error = surface.errors?.[block.block_id];
    const id = inputId(surface, block);
    const element = elementNode(block, block.element, surface, { input: true, id });
    const field = element.matches("input, textarea, select") ? element : element.querySelector("input[role=combobox]");
    if (!field) element.id = id;
    const told = [block.hint && `${id}-hint`, error && `${id}-error`].filter(Boolean).join(" ");
    if (told) (field || element).setAttribute("aria-describedby", told);
    if (error) (field || element).setAttribute("aria-invalid", "true");
    if (field && !block.optional) field.setAttribute("aria-required", "true");
    return h(
      "div",
      { class: error ? "invalid" : "" },
      h(field ? "label" : "span", { class: "label", id: `${id}-label`, for: field ? id : null }, ...textObject(block.label),
        block.optional && h("span", { class: "optional" }, " (optional)")),
      element,
      error && h("p", { class: "error", id: `${id}-error`, role: "alert" }, icon("alert"), error),
      block.hint && h("p", { class: "hint", id: `${id}-hint` }, ...textObject(block.hint)),
    );
  },
  table(block) {
    const settings = block.column_settings || [];
    const cell = (content, index, tag) =>
      h(tag, { class: `${settings[index]?.align || "left"}${settings[index]?.is_wrapped ? " wrapped" : ""}` },
        content.type === "rich_text" ? richText(content) : content.text);
    const [head, ...rest] = block.rows;
    return h(
      "div",
      { class: "table-frame", tabindex: "0", role: "group", "aria-label": "Table" },
      h(
        "table",
        {},
        h("thead", {}, h("tr", {}, head.map((content, index) => cell(content, index, "th")))),
        h("tbody", {}, rest.map((row) => h("tr", {}, row.map((content, index) => cell(content, index, "td"))))),
      ),
    );
  },
  plan: (block, surface) =>
    h("div", {}, h("p", { class: "plan-title" }, block.title), (block.tasks || []).map((task) => blockNode(task, surface))),
  task_card(block) {
    const status = block.status || "pending";
    const head = [h("span", { class: "task-mark", "aria-hidden": "true" }), block.title, " ",
      h("span", { class: "task-status" }, status.replace("_", " "))];
    const more = [
      block.details && h("div", {}, ...richText(block.details)),
      block.output && h("div", {}, ...richText(block.output)),
      block.sources?.length && h("p", {}, block.sources.map((source) => [link(source.url, source.text), " "])),
    ].filter(Boolean);
    if (!more.length) return h("div", { class: `task ${status}` }, h("div", { class: "task-head" }, head));
    return h("details", { class: `task ${status}`, open: status === "in_progress" }, h("summary", { class: "task-head" }, head), more);
  },
  card: (block, surface) =>
    h(
      "div",
      {},
      block.hero_image && picture(block.hero_image, "hero"),
      h("div", { class: "card-head" }, block.icon && picture(block.icon, "card-icon"),
        h("div", {}, block.title && h("strong", {}, ...textObject(block.title)),
          block.subtitle && h("div", { class: "subtitle" }, ...textObject(block.subtitle)))),
      block.body && h("div", {}, ...textObject(block.body)),
      block.actions && h("div", { class: "block-actions" }, block.actions.map((element) => elementNode(block, element, surface))),
    ),
  carousel: (block, surface) => h("div", { tabindex: "0", role: "group", "aria-label": "Cards" }, blockNodes(block.elements, surface)),
  alert: (block) => h("div", { class: block.level || "default", role: "note" }, h("span", { class: "level" }, block.level || "note"), h("div", {}, ...textObject(block.text))),
  container(block, surface) {
    const title = [block.icon && picture(block.icon, "card-icon"),
      block.rich_text_title ? richText(block.rich_text_title) : textObject(block.title),
      block.subtitle && h("span", { class: "subtitle" }, ...textObject(block.subtitle))];
    const body = blockNodes(block.child_blocks, surface);
    if (block.is_collapsible) return h("details", { open: !block.default_collapsed }, h("summary", {}, title), body);
    return h("div", {}, h("div", { class: "container-title" }, title), body);
  },
  video: (block) => h("div", {}, link(block.title_url || block.video_url, ...textObject(block.title)), h("img", { src: safeUrl(block.thumbnail_url), alt: block.alt_text })),
};

function accessory(block, surface) {
  if (block.accessory.type === "image") return picture(block.accessory, "accessory-picture");
  return elementNode(block, block.accessory, surface);
}

export function inputId(surface, block) {
  return `input-${surface.name}-${block.block_id}`;
}

// --- rich text

function richText(block) {
  return block.elements.map((element) => RICH[element.type]?.(element) ?? "");
}

const RICH = {
  rich_text_section: (element) => h("div", { class: "rich-section" }, leaves(element.elements)),
  rich_text_preformatted: (element) => h("pre", {}, h("code", {}, leaves(element.elements))),
  rich_text_quote: (element) => h("blockquote", {}, leaves(element.elements)),
  rich_text_list: (element) => {
    const list = h(element.style === "ordered" ? "ol" : "ul", { class: `indent-${element.indent || 0}` });
    if (element.offset) list.setAttribute("start", String(element.offset + 1));
    for (const item of element.elements) list.append(h("li", {}, leaves(item.elements)));
    return list;
  },
};

function leaves(elements) {
  return elements.map((element) => styled(element, LEAF[element.type]?.(element) ?? ""));
}

const LEAF = {
  text: (leaf) => plain(leaf.text.replaceAll("&", "&amp;"), { withEmoji: false }),
  link: (leaf) => link(leaf.url, leaf.text || leaf.url),
  emoji: (leaf) => emoji(leaf.name),
  user: (leaf) => mention(leaf.user_id),
  usergroup: (leaf) => groupMention(leaf.usergroup_id),
  channel: (leaf) => room(leaf.channel_id),
  broadcast: (leaf) => h("span", { class: "mention" }, "@", leaf.range),
  color: (leaf) => h("code", {}, leaf.value),
  team: () => state.team.name,
  date: (leaf) => h("time", {}, formatDate(leaf.timestamp, leaf.format)),
};

const STYLES = { bold: "strong", italic: "em", strike: "s", code: "code", underline: "u", highlight: "mark" };

function styled(leaf, content) {
  return Object.entries(STYLES).reduce((inner, [name, tag]) => (leaf.style?.[name] ? h(tag, {}, inner) : inner), content);
}
