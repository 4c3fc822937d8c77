// What the page knows of the workspace, kept current by the server's feed.

import { get } from "/page/api.js";

const ACTING = "workspace.acting";
const KINDS = [
  "message", "message_deleted", "modals", "home", "channel", "status", "prompts", "connections", "reset", "resync",
];

export const state = {
  ready: false,
  team: {}, app: {}, people: [], users: new Map(), groups: new Map(), channels: new Map(),
  messages: new Map(), modals: {}, homes: {}, statuses: new Map(), prompts: {}, commands: [], switches: [],
  connections: 0, httpMode: false, live: false,
  acting: sessionStorage.getItem(ACTING) || "",
  place: { channel: "", thread: null },
  seen: new Map(),
};

const listeners = new Set();

/** `listener(kind, data)` hears every change; kind "all" means: draw everything anew. */
export function onChange(listener) {
  listeners.add(listener);
}

export function changed(kind, data = {}) {
  for (const listener of listeners) listener(kind, data);
}

export async function load() {
  const snapshot = await get("/control/state");
  Object.assign(state, {
    ready: true, team: snapshot.team, app: snapshot.app, people: snapshot.people, modals: snapshot.modals,
    homes: snapshot.homes, prompts: snapshot.prompts, commands: snapshot.commands, switches: snapshot.switches,
    connections: snapshot.connections, httpMode: snapshot.http_mode,
    users: new Map(snapshot.users.map((user) => [user.id, user])),
    groups: new Map(snapshot.groups.map((group) => [group.id, group])),
    channels: new Map(snapshot.channels.map((channel) => [channel.id, channel])),
    statuses: new Map(snapshot.statuses.map((s) => [`${s.channel} ${s.thread_ts}`, s.status])),
    messages: new Map(snapshot.channels.map((channel) => [channel.id, new Map()])),
  });
  for (const message of snapshot.messages) state.messages.get(message.channel).set(message.ts, message);
  if (!state.people.includes(state.acting)) state.acting = state.people[0];
  for (const user of state.people) {
    for (const channel of state.channels.keys()) markSeen(channel, user, { onlyIfNew: true });
  }
  changed("all");
  return snapshot.number;
}

export function follow(number) {
  const source = new EventSource(`/control/events?after=${number}`);
  source.onopen = () => { state.live = true; changed("connections"); };
  source.onerror = () => { state.live = false; changed("connections"); };
  for (const kind of KINDS) {
    source.addEventListener(kind, (event) => take(kind, JSON.parse(event.data)));
  }
}

function take(kind, data) {
  if (kind === "reset" || kind === "resync") return void load();
  if (kind === "message") state.messages.get(data.channel)?.set(data.ts, data);
  if (kind === "message_deleted") state.messages.get(data.channel)?.delete(data.ts);
  if (kind === "modals") state.modals[data.user] = data.views;
  if (kind === "home") state.homes[data.user] = data.view;
  if (kind === "prompts") state.prompts[data.channel] = data;
  if (kind === "connections") state.connections = data.count;
  if (kind === "status") {
    const key = `${data.channel} ${data.thread_ts}`;
    if (data.status) state.statuses.set(key, data.status);
    else state.statuses.delete(key);
  }
  if (kind === "channel") {
    if (!state.messages.has(data.id)) return void load();
    state.channels.set(data.id, { ...state.channels.get(data.id), ...data });
  }
  if (kind === "message" && data.is_reply) state.statuses.delete(`${data.channel} ${data.thread_ts}`);
  changed(kind, data);
}

export function actAs(user) {
  state.acting = user;
  sessionStorage.setItem(ACTING, user);
  changed("all");
}

export function user(id) {
  if (id === "USLACKBOT") return { id, name: "slackbot", real_name: "Slackbot", is_bot: true };
  return state.users.get(id) || { id, name: id, real_name: id };
}

export function zone() {
  return user(state.acting).tz || undefined;
}

/** The conversations that the acting person may see: channels first, then direct messages. */
export function conversations() {
  const all = [...state.channels.values()];
  return {
    rooms: all.filter((channel) => channel.is_channel),
    direct: all.filter((channel) => !channel.is_channel && channel.members?.includes(state.acting)),
  };
}

export function titleOf(channel) {
  if (channel.is_channel) return channel.name;
  const others = (channel.members || []).filter((member) => member !== state.acting);
  return others.map((member) => user(member).real_name).join(", ");
}

function visible(message) {
  return !message.ephemeral_to || message.ephemeral_to === state.acting;
}

export function topLevel(channel) {
  const messages = [...(state.messages.get(channel)?.values() || [])];
  return messages
    .filter((message) => visible(message) && (!message.is_reply || message.reply_broadcast))
    .sort((a, b) => (a.ts < b.ts ? -1 : 1));
}

export function threadOf(channel, ts) {
  const messages = [...(state.messages.get(channel)?.values() || [])];
  return messages
    .filter((message) => visible(message) && (message.ts === ts || (message.is_reply && message.thread_ts === ts)))
    .sort((a, b) => (a.ts < b.ts ? -1 : 1));
}

export function markSeen(channel, person = state.acting, { onlyIfNew = false } = {}) {
  const key = `${person} ${channel}`;
  if (onlyIfNew && state.seen.has(key)) return;
  const newest = [...(state.messages.get(channel)?.keys() || [])].sort().at(-1) || "0";
  state.seen.set(key, newest);
}

export function unread(channel) {
  const since = state.seen.get(`${state.acting} ${channel}`) || "0";
  return topLevel(channel).filter((message) => message.ts > since && message.user !== state.acting).length;
}
