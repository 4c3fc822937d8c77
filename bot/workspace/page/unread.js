// What each person has not read yet, by channel and by thread.

import { keep, kept } from "/page/memory.js";
import { conversations, onChange, saidIn, seenBy, state, topLevel } from "/page/store.js";

const seen = new Map(Object.entries(kept("seen", {})));
const OF_ALL = "";

const keyOf = (person, channel, thread = null) => [person, channel, thread].filter(Boolean).join(" ");

function newest(channel) {
  return [...(state.messages.get(channel)?.keys() || [])].sort().at(-1) || "0";
}

/** The timestamp up to which a person has read a channel, or one of its threads. */
export function readUpTo(person, channel, thread = null) {
  const start = seen.get(OF_ALL) || "0";
  const read = seen.get(keyOf(person, channel, thread)) || "0";
  return read > start ? read : start;
}

export function markRead(channel, thread = null) {
  const key = keyOf(state.acting, channel, thread);
  const last = newest(channel);
  if (seen.get(key) === last) return;
  seen.set(key, last);
  keep("seen", Object.fromEntries(seen));
}

/** What happened before this tab was opened first counts as read by everybody. */
function begin() {
  if (!state.ready || seen.has(OF_ALL)) return;
  seen.set(OF_ALL, [...state.channels.keys()].map(newest).sort().at(-1) || "0");
  keep("seen", Object.fromEntries(seen));
}

onChange((kind) => { if (kind === "all") begin(); });

function concerns(person, message) {
  if (message.ephemeral_to === person || state.channels.get(message.channel).is_im) return true;
  const text = saidIn(message);
  if (text.includes(`<@${person}>`)) return true;
  return [...state.groups.values()].some((group) => group.members.includes(person) && text.includes(`<!subteam^${group.id}`));
}

/** {count, mentions}: new messages in a channel for a person, and how many of them name the person. */
export function unread(channel, person = state.acting) {
  const since = readUpTo(person, channel);
  const fresh = topLevel(channel, person).filter((message) => message.ts > since && message.user !== person);
  const replies = seenBy(person, channel).filter((message) =>
    message.is_reply && !message.reply_broadcast && message.user !== person
    && message.ts > readUpTo(person, channel, message.thread_ts) && message.ts > since && concerns(person, message));
  const mentions = fresh.filter((message) => concerns(person, message)).length + replies.length;
  return { count: fresh.length, mentions };
}

/** How many messages somewhere in the workspace wait for a person. */
export function waitingFor(person) {
  const { rooms, direct } = conversations(person);
  return [...rooms, ...direct].reduce((sum, channel) => sum + unread(channel.id, person).mentions, 0);
}

export function hasNewReplies(message) {
  return Boolean(message.latest_reply) && message.latest_reply > readUpTo(state.acting, message.channel, message.ts);
}
