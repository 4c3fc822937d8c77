// What fits the word before the caret: a command, a person, a group or a channel.

import { conversations, state } from "/page/store.js";

const MOST = 6;

const SOURCES = {
  "/": () => state.commands.map((one) => ({ insert: one.name, label: one.name, note: one.description, hint: one.usage_hint })),
  "@": () => [
    ...[...state.users.values()].map((one) => ({ insert: `@${one.name}`, label: one.real_name, note: `@${one.name}` })),
    ...[...state.groups.values()].map((group) => ({ insert: `@${group.handle}`, label: `@${group.handle}`, note: `${group.members.length} people` })),
  ],
  "#": () => conversations().rooms.map((channel) => ({ insert: `#${channel.name}`, label: `#${channel.name}`, note: channel.topic?.value })),
};

/** {start, entries} for the text up to the caret; commands only as the first word. */
export function completionsFor(text) {
  const [, word] = /(?:^|\s)([/@#][^\s]*)$/.exec(text) || [];
  const nothing = { start: 0, entries: [] };
  if (!word || (word[0] === "/" && word.length !== text.length)) return nothing;
  const typed = word.toLowerCase();
  const fits = ({ insert, label }) => insert.toLowerCase().startsWith(typed) || label.toLowerCase().includes(` ${typed.slice(1)}`) || label.toLowerCase().startsWith(typed.slice(1));
  return { start: text.length - word.length, entries: SOURCES[word[0]]().filter(fits).slice(0, MOST) };
}
