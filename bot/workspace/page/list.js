// Lists of messages, changed in place: what stays the same keeps its node, its focus and what is folded out.

import { focusOn, h, icon } from "/page/dom.js";
import { messageNode } from "/page/messages.js";
import { go } from "/page/place.js";
import { state } from "/page/store.js";
import { dayOf, fromTs } from "/page/time.js";
import { hasNewReplies } from "/page/unread.js";

const GROUP_SECONDS = 300;
const NEAR_END = 80;
const versions = new WeakMap();

export function atEnd(list) {
  return list.scrollHeight - list.scrollTop - list.clientHeight < NEAR_END;
}

/** A scrolling list of messages, which follows its end as long as it stands there. */
export function messageList(props) {
  const list = h("div", { class: "messages", role: "region", tabindex: "0", "aria-description": "Arrow keys go from message to message", ...props });
  list.addEventListener("keydown", walk);
  // A picture that arrives late makes its message taller.
  list.addEventListener("load", () => { if (list.dataset.following) list.scrollTop = list.scrollHeight; }, true);
  list.addEventListener("scroll", () => {
    if (atEnd(list)) list.dataset.following = "yes";
    else delete list.dataset.following;
  }, { passive: true });
  new ResizeObserver(() => { if (list.dataset.following) list.scrollTop = list.scrollHeight; }).observe(list);
  list.dataset.following = "yes";
  return list;
}

/**
 * Fills a list; `fresh` is the timestamp after which messages are new to the reader, `earlier` shows what is before the
 * first, `empty` stands where nothing is.
 */
export function fillList(list, messages, { inThread = false, fresh = null, empty = null, earlier = null }) {
  const kept = new Map([...list.children].filter((node) => node.dataset.key).map((node) => [node.dataset.key, node]));
  const inside = focusInside(list);
  const wanted = rows(messages, { inThread, fresh }).map(([key, version, build]) => reuse(kept, key, version, build));
  if (earlier) wanted.unshift(reuse(kept, "earlier", "", () =>
    h("div", { class: "earlier" }, h("button", { type: "button", class: "button small", onclick: earlier }, "Show earlier messages"))));
  if (!messages.length && empty) wanted.push(reuse(kept, "empty", "", () => empty));
  put(list, wanted);
  restoreFocus(list, inside);
  if (list.dataset.following) list.scrollTop = list.scrollHeight;
}

/** [key, version, build] of every row: days, the line above what is new, messages. */
function rows(messages, { inThread, fresh }) {
  const found = [];
  let before = null;
  let today = null;
  let marked = fresh === null;
  for (const message of messages) {
    const day = dayOf(fromTs(message.ts));
    if (today !== day) {
      today = day;
      found.push([`day ${day}`, "", () => line("day", day)]);
    }
    if (!marked && message.ts > fresh && message.user !== state.acting) {
      marked = true;
      before = null;
      found.push(["fresh", "", () => line("day fresh", "New")]);
    }
    found.push(messageRow(message, { inThread, grouped: belongTogether(before, message) }));
    before = message;
    if (inThread && message.ts === state.place.thread && messages.length > 1) {
      const text = counted(messages.length - 1);
      found.push(["count", text, () => line("day replies", text)]);
      before = null;
    }
  }
  return found;
}

function messageRow(message, { inThread, grouped }) {
  const minute = message.reply_count ? Math.floor(Date.now() / 60_000) : "";
  const fresh = !inThread && hasNewReplies(message);
  const version = `${grouped} ${minute} ${fresh} ${JSON.stringify(message)}`;
  return [message.ts, version, () => messageNode(message, { inThread, grouped, fresh, onThread: (ts) => go(state.place.channel, ts) })];
}

const line = (className, text) => h("div", { class: className }, h("span", {}, text));

export function counted(replies) {
  return `${replies} ${replies === 1 ? "reply" : "replies"}`;
}

function belongTogether(before, message) {
  return Boolean(before) && before.user === message.user && !before.ephemeral_to === !message.ephemeral_to
    && Number(message.ts) - Number(before.ts) < GROUP_SECONDS && !before.blocks?.length && !message.blocks?.length;
}

function reuse(kept, key, version, build) {
  const old = kept.get(key);
  if (old && (versions.get(old) === version || inUse(old))) return old;
  const node = build();
  if (old) keepOpen(old, node);
  node.dataset.key = key;
  versions.set(node, version);
  return node;
}

/** Whether the person is typing or choosing in a node: redrawing it now would take that away. */
function inUse(node) {
  const active = document.activeElement;
  return node.querySelector("[aria-expanded=true]") !== null || (node.contains(active) && active.matches("input, textarea, select"));
}

function keepOpen(old, node) {
  const before = old.querySelectorAll("details");
  const after = node.querySelectorAll("details");
  if (before.length === after.length) after.forEach((details, index) => { details.open = before[index].open; });
}

/** Puts the wanted nodes in order, leaving those alone that stay. */
function put(list, wanted) {
  const staying = new Set(wanted);
  for (const node of [...list.children]) if (!staying.has(node)) node.remove();
  wanted.forEach((node, index) => {
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] || null);
  });
}

function focusInside(list) {
  const active = document.activeElement;
  if (active === list || !list.contains(active)) return null;
  const row = [...list.children].find((node) => node.contains(active));
  return { row: row.dataset.key, key: active === row ? null : active.dataset.key };
}

function restoreFocus(list, inside) {
  if (!inside || document.activeElement !== document.body) return;
  const row = [...list.children].find((node) => node.dataset.key === inside.row);
  if (row && inside.key) focusOn(row, inside.key);
  if (document.activeElement === document.body) (row || list).focus();
}

/** Arrow keys go from message to message. */
function walk(event) {
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  const list = event.currentTarget;
  if (!step || !(event.target === list || event.target.matches(".message"))) return;
  event.preventDefault();
  const messages = [...list.querySelectorAll(".message")];
  const at = event.target === list ? (step > 0 ? -1 : messages.length) : messages.indexOf(event.target);
  messages[Math.max(0, Math.min(messages.length - 1, at + step))]?.focus();
}

/** Whether the newest message is to be seen, or a part of it. */
function newestInSight(list) {
  const newest = [...list.querySelectorAll(".message")].at(-1);
  return !newest || newest.getBoundingClientRect().top < list.getBoundingClientRect().bottom;
}

/** A button that leads to the end of a list, shown while its newest message is out of sight. */
export function toNewest(list) {
  const button = h("button", { type: "button", class: "to-newest", hidden: true, onclick: () => { list.scrollTop = list.scrollHeight; } },
    icon("down"), "Newest");
  list.addEventListener("scroll", () => { button.hidden = atEnd(list) || newestInSight(list); }, { passive: true });
  return button;
}
