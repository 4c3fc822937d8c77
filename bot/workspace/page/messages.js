// One message: who, when, what, and what can be done with it.

import { post } from "/page/api.js";
import { blockNodes } from "/page/blocks.js";
import { h, icon, link, safeUrl } from "/page/dom.js";
import { emoji, QUICK } from "/page/emoji.js";
import { menuButton } from "/page/menu.js";
import { mrkdwn } from "/page/mrkdwn.js";
import { attempt, toast } from "/page/notices.js";
import { state, user } from "/page/store.js";
import { messageSurface } from "/page/surfaces.js";
import { ago, clockTime, full, fromTs } from "/page/time.js";

export function avatar(person) {
  const hue = [...person.id].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 12, 7);
  const letters = (person.real_name || person.name).split(/\s+/).map((word) => word[0]).slice(0, 2).join("");
  return h("span", { class: `avatar tint-${hue}${person.is_bot ? " bot" : ""}`, "aria-hidden": "true" }, person.id === state.app.bot_user_id ? icon("gate") : letters);
}

/** `inThread`: without the summary of the thread; `grouped`: the same person just spoke; `fresh`: the thread has news. */
export function messageNode(message, { inThread = false, grouped = false, fresh = false, onThread }) {
  const author = user(message.user);
  const date = fromTs(message.ts);
  return h(
    "article",
    {
      class: `message${grouped ? " grouped" : ""}${message.ephemeral_to ? " ephemeral" : ""}${message.streaming ? " streaming" : ""}`,
      dataset: { ts: message.ts }, id: `${inThread ? "t" : "m"}${message.ts}`, tabindex: "-1",
      "aria-label": `${author.real_name}, ${clockTime(date)}`,
    },
    h("div", { class: "gutter" }, grouped ? h("time", { class: "mini", title: full(date) }, clockTime(date)) : avatar(author)),
    h(
      "div",
      { class: "content" },
      message.ephemeral_to && h("div", { class: "only-you" }, icon("eye"), "Only visible to you"),
      !grouped && h("div", { class: "byline" },
        h("span", { class: "author" }, message.username || author.real_name),
        author.is_bot && h("span", { class: "badge" }, "App"),
        h("time", { title: full(date), datetime: date.toISOString() }, clockTime(date))),
      body(message),
      message.attachments?.map((attachment) => attachmentNode(message, attachment)),
      message.files?.length && h("div", { class: "files" }, message.files.map(fileNode)),
      message.reactions?.length && h("div", { class: "reactions" }, message.reactions.map((reaction) => reactionNode(message, reaction))),
      !inThread && message.reply_count > 0 && summary(message, fresh, onThread),
    ),
    toolbar(message, { inThread, onThread }),
  );
}

function body(message) {
  if (message.blocks?.length) return h("div", { class: "blocks" }, blockNodes(message.blocks, messageSurface(message)));
  return h("div", { class: "text" }, ...mrkdwn(message.text), message.edited && h("span", { class: "edited" }, " (edited)"));
}

/** What a link was unfurled to. */
function attachmentNode(message, attachment) {
  const { blocks, from_url: from } = attachment;
  return h("div", { class: "attachment" },
    attachment.title && h("p", {}, h("strong", {}, attachment.title_link ? link(attachment.title_link, attachment.title) : attachment.title)),
    blocks?.length ? h("div", { class: "blocks" }, blockNodes(blocks, messageSurface(message)))
      : attachment.text && h("div", { class: "text" }, ...mrkdwn(attachment.text)),
    attachment.image_url && h("img", { src: safeUrl(attachment.image_url), alt: attachment.fallback || attachment.title || "" }),
    from && h("p", { class: "from" }, icon("link"), new URL(from).host));
}

function fileNode(file) {
  const url = safeUrl(new URL(file.url_private, location.href).pathname);
  if (file.mimetype.startsWith("image/")) {
    return h("figure", {}, h("figcaption", {}, file.title), h("img", { src: url, alt: file.alt_txt || file.title, loading: "lazy" }));
  }
  return h("a", { class: "file", href: url, download: file.name }, icon("file"), h("span", {}, file.title, h("small", {}, `${file.size} bytes`)));
}

function reactionNode(message, reaction) {
  const mine = reaction.users.includes(state.acting);
  const names = reaction.users.map((id) => user(id).real_name).join(", ");
  return h("button", {
    type: "button", class: mine ? "reaction mine" : "reaction", title: `${names} reacted with :${reaction.name}:`,
    "aria-label": `${reaction.name}, ${reaction.count}`, "aria-pressed": String(mine), dataset: { key: `reaction ${reaction.name}` },
    onclick: () => react(message, reaction.name, mine),
  }, emoji(reaction.name), h("span", {}, String(reaction.count)));
}

function react(message, name, remove = false) {
  attempt(() => post("/control/react", { channel: message.channel, ts: message.ts, user: state.acting, name, remove }));
}

function summary(message, fresh, onThread) {
  return h("button", { type: "button", class: fresh ? "thread-summary fresh" : "thread-summary", dataset: { key: "thread" }, onclick: () => onThread(message.ts) },
    message.reply_users.slice(0, 4).map((id) => avatar(user(id))),
    h("span", { class: "replies-count" }, `${message.reply_count} ${message.reply_count === 1 ? "reply" : "replies"}`),
    h("span", { class: "last" }, `Last reply ${sinceReply(message)}`),
    fresh && h("span", { class: "badge new" }, "New"));
}

function sinceReply(message) {
  const date = fromTs(message.latest_reply);
  return Date.now() - date.getTime() < 60_000 ? "just now" : ago(date);
}

function toolbar(message, { inThread, onThread }) {
  const tool = (name, title, onclick) => h("button", { type: "button", class: "quiet", title, "aria-label": title, dataset: { key: `tool ${name}` }, onclick }, icon(name));
  const act = (path, more = {}) => attempt(() => post(path, { channel: message.channel, ts: message.ts, user: state.acting, ...more }));
  const mine = message.user === state.acting;
  if (message.ephemeral_to) return h("div", { class: "toolbar" }, tool("close", "Dismiss", () => act("/control/dismiss")));
  const more = () => [
    ...state.shortcuts.filter(({ kind }) => kind === "message").map((shortcut) => ({
      label: shortcut.name, note: state.app.name, icon: "bolt",
      act: () => act("/control/shortcut", { callback_id: shortcut.callback_id }),
    })),
    { label: "Copy link", icon: "link", act: () => copyLink(message) },
    ...(mine ? [{ label: "Edit", icon: "edit", act: () => edit(message, act) }, { label: "Delete", icon: "trash", act: () => act("/control/delete") }] : []),
  ];
  return h(
    "div",
    { class: "toolbar" },
    QUICK.slice(0, 3).map((name) => h("button", {
      type: "button", class: "quiet", title: `React with :${name}:`, "aria-label": `React with ${name}`,
      onclick: () => react(message, name, message.reactions?.some((r) => r.name === name && r.users.includes(state.acting))),
    }, emoji(name))),
    !inThread && tool("reply", "Reply in thread", () => onThread(message.thread_ts || message.ts)),
    menuButton({ class: "quiet", title: "More", "aria-label": "More" }, icon("more"), more),
  );
}

async function copyLink(message) {
  const link = `${location.origin}/archives/${message.channel}/p${message.ts.replace(".", "")}`;
  try {
    await navigator.clipboard.writeText(link);
    toast("Link copied");
  } catch {
    toast(link);
  }
}

function edit(message, act) {
  const node = document.querySelector(`[data-ts="${message.ts}"] .text`);
  if (!node) return;
  const field = h("textarea", { class: "edit", rows: "2", "aria-label": "Edit message", value: node.textContent.replace(/ \(edited\)$/, "") });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey) {
      event.preventDefault();
      const { value } = field;
      field.replaceWith(node);
      act("/control/edit", { text: value });
    }
    if (event.key === "Escape") field.replaceWith(node);
  });
  node.replaceWith(field);
  field.focus();
}
