// What the page knows of the workspace, kept current by the server's feed.

import { get } from "/page/api.js";
import { kept, keep } from "/page/memory.js";

const KINDS = [
  "message", "message_deleted", "modals", "home", "channel", "status", "prompts", "connections", "faults", "switches",
  "reset", "resync",
];

export const state = {
  ready: false,
  team: {}, app: {}, people: [], parts: {}, users: new Map(), groups: new Map(), channels: new Map(),
  messages: new Map(), modals: {}, homes: {}, statuses: new Map(), prompts: {}, commands: [], shortcuts: [],
  switches: [], faults: { outage: null, copies: 1, limits: [] }, tour: [],
  connections: 0, httpMode: false, live: false,
  acting: kept("acting", ""),
  place: { channel: "", thread: null },
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
  const { team, app, people, parts, modals, homes, prompts, commands, shortcuts, switches, faults, tour, connections } = snapshot;
  Object.assign(state, {
    ready: true, team, app, people, parts, modals, homes, prompts, commands, shortcuts, switches, faults, tour, connections,
    httpMode: snapshot.http_mode,
    users: new Map(snapshot.users.map((one) => [one.id, one])),
    groups: new Map(snapshot.groups.map((group) => [group.id, group])),
    channels: new Map(snapshot.channels.map((channel) => [channel.id, channel])),
    statuses: new Map(snapshot.statuses.map((one) => [`${one.channel} ${one.thread_ts}`, one])),
    messages: new Map(snapshot.channels.map((channel) => [channel.id, new Map()])),
  });
  for (const message of snapshot.messages) state.messages.get(message.channel).set(message.ts, message);
  if (!state.people.includes(state.acting)) state.acting = state.people[0];
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

const TAKE = {
  message: (data) => state.messages.get(data.channel)?.set(data.ts, data),
  message_deleted: (data) => state.messages.get(data.channel)?.delete(data.ts),
  modals: (data) => { state.modals[data.user] = data.views; },
  home: (data) => { state.homes[data.user] = data.view; },
  prompts: (data) => { state.prompts[data.channel] = data; },
  connections: (data) => { state.connections = data.count; },
  faults: (data) => { state.faults = data; },
  switches: (data) => { state.switches = data.switches; },
  status: (data) => {
    const key = `${data.channel} ${data.thread_ts}`;
    if (data.status) state.statuses.set(key, data);
    else state.statuses.delete(key);
  },
  channel: (data) => { state.channels.set(data.id, { ...state.channels.get(data.id), ...data }); },
};

function take(kind, data) {
  const unknown = kind === "channel" && !state.messages.has(data.id);
  if (kind === "reset" || kind === "resync" || unknown) return void load();
  const isNew = kind === "message" && !state.messages.get(data.channel)?.has(data.ts);
  TAKE[kind](data);
  changed(isNew ? "new" : kind, data);
}

export function actAs(user) {
  state.acting = user;
  keep("acting", user);
  changed("all");
}

export function user(id) {
  if (id === "USLACKBOT") return { id, name: "slackbot", real_name: "Slackbot", is_bot: true };
  return state.users.get(id) || { id, name: id, real_name: id };
}

export function zone() {
  return user(state.acting).tz || undefined;
}

/** The conversations that a person may see: channels first, then direct messages. */
export function conversations(person = state.acting) {
  const all = [...state.channels.values()];
  return {
    rooms: all.filter((channel) => channel.is_channel),
    direct: all.filter((channel) => !channel.is_channel && channel.members?.includes(person)),
  };
}

export function titleOf(channel) {
  if (channel.is_channel) return channel.name;
  const others = (channel.members || []).filter((member) => member !== state.acting);
  return others.map((member) => user(member).real_name).join(", ");
}

const texts = new WeakMap();

/** Everything that a message says, blocks and all, as one string to look into. */
export function saidIn(message) {
  if (!texts.has(message)) texts.set(message, (message.text + JSON.stringify(message.blocks || "")).replaceAll("\u00a0", " "));
  return texts.get(message);
}

/** The messages of a channel that a person sees, oldest first. */
export function seenBy(person, channel) {
  return [...(state.messages.get(channel)?.values() || [])]
    .filter((message) => !message.ephemeral_to || message.ephemeral_to === person)
    .sort((a, b) => (a.ts < b.ts ? -1 : 1));
}

export function topLevel(channel, person = state.acting) {
  return seenBy(person, channel).filter((message) => !message.is_reply || message.reply_broadcast);
}

export function threadOf(channel, ts) {
  return seenBy(state.acting, channel)
    .filter((message) => message.ts === ts || (message.is_reply && message.thread_ts === ts));
}
