// The sidebar: who you are, where you can go, what you can make go wrong.

import { h, icon, renew } from "/page/dom.js";
import { faultPanel } from "/page/faults.js";
import { avatar } from "/page/messages.js";
import { openPalette } from "/page/palette.js";
import { personSwitch } from "/page/persons.js";
import { HOME } from "/page/place.js";
import { conversations, state, titleOf, user } from "/page/store.js";
import { themeSwitch } from "/page/theme.js";
import { tourButton } from "/page/tour.js";
import { unread } from "/page/unread.js";

export function drawSidebar() {
  const { rooms, direct } = conversations();
  renew(
    document.getElementById("sidebar"),
    h("div", { class: "team" }, h("span", { class: "team-mark", "aria-hidden": "true" }, state.team.name[0]), h("span", { class: "team-name" }, state.team.name),
      h("button", { type: "button", class: "quiet", "aria-label": "Go to a conversation", title: "Go to a conversation (Ctrl K)",
        dataset: { key: "palette" }, onclick: openPalette }, icon("search"))),
    h("h2", {}, "You are"),
    personSwitch(),
    h("h2", {}, "Channels"),
    h("ul", { class: "places" }, rooms.map((channel) => place(channel, icon("hash")))),
    h("h2", {}, "Apps and people"),
    h("ul", { class: "places" },
      h("li", {}, h("a", { href: `#/${HOME}`, "aria-current": state.place.channel === HOME ? "page" : null, dataset: { key: HOME } },
        icon("home"), h("span", { class: "name" }, `${state.app.name} home`))),
      direct.map((channel) => place(channel, avatar(user(channel.members.find((id) => id !== state.acting)))))),
    faultPanel(),
    h("div", { class: "sidebar-foot" }, tourButton(), h("div", { class: "foot-row" }, connection(), themeSwitch())),
  );
}

function place(channel, mark) {
  const here = channel.id === state.place.channel;
  const { count, mentions } = here ? { count: 0, mentions: 0 } : unread(channel.id);
  return h("li", {}, h("a", {
    href: `#/${channel.id}`, class: count || mentions ? "unread" : "", "aria-current": here ? "page" : null, dataset: { key: channel.id },
  }, mark, h("span", { class: "name" }, titleOf(channel)),
  count > 0 && mentions === 0 && h("span", { class: "unseen" }, ` ${count} unread`),
  mentions > 0 && h("span", { class: "count" }, String(mentions), h("span", { class: "unseen" }, " for you"))));
}

function connection() {
  const text = state.httpMode ? "App over HTTP" : state.connections
    ? `App connected${state.connections > 1 ? ` (${state.connections})` : ""}` : "App not connected";
  const good = state.live && (state.httpMode || state.connections > 0);
  return h("div", { class: good ? "connection good" : "connection" },
    h("span", { class: "dot", "aria-hidden": "true" }), state.live ? text : "Reconnecting…");
}
