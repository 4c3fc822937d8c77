// The conversation in the middle: its head, its messages, what stands below them, and the composer.

import { post } from "/page/api.js";
import { composer } from "/page/composer.js";
import { h, icon, renew } from "/page/dom.js";
import { drawer } from "/page/drawer.js";
import { faultBanner } from "/page/faults.js";
import { drawHome, homeTabs } from "/page/home.js";
import { fillList, messageList, toNewest } from "/page/list.js";
import { attempt } from "/page/notices.js";
import { HOME } from "/page/place.js";
import { state, titleOf, topLevel } from "/page/store.js";
import { tourStrip } from "/page/tour.js";
import { markRead, readUpTo, unread, waitingFor } from "/page/unread.js";
import { workingLine } from "/page/working.js";

const byId = (id) => document.getElementById(id);
const PAGE = 60;
const NOWHERE = { key: "", fresh: null, most: PAGE };
let drawn = NOWHERE;

export function forgetRoom() {
  drawn = NOWHERE;
}

export function drawRoom() {
  const { channel: id } = state.place;
  const channel = state.channels.get(id);
  const name = id === HOME ? state.app.name : `${channel.is_channel ? "#" : ""}${titleOf(channel)}`;
  const waiting = waitingFor(state.acting);
  document.title = `${waiting ? `(${waiting}) ` : ""}${name} · ${state.team.name}`;
  const key = `${state.acting} ${id}`;
  if (drawn.key !== key) {
    drawn = { key, fresh: unread(id).count && id !== HOME ? readUpTo(state.acting, id) : null, most: PAGE };
    byId("room").replaceChildren(...(id === HOME ? homeRoom() : conversationRoom(channel)));
  }
  if (id === HOME) drawHome(byId("home"));
  else fillRoom(channel);
  renew(byId("banner"), faultBanner());
  renew(byId("tour"), tourStrip());
  drawBelow();
  if (id !== HOME) markRead(id);
}

/** The newest messages; older ones on demand, since a page of hundreds of cards is slow. */
function fillRoom(channel) {
  const all = topLevel(channel.id);
  const list = byId("messages");
  fillList(list, all.slice(-drawn.most), { fresh: drawn.fresh, empty: emptyRoom(channel), earlier: all.length > drawn.most && showEarlier });
}

function showEarlier() {
  drawn.most += PAGE;
  const list = byId("messages");
  const below = list.scrollHeight - list.scrollTop;
  fillRoom(state.channels.get(state.place.channel));
  list.scrollTop = list.scrollHeight - below;
  list.focus({ preventScroll: true });
}

function head(title, { mark = null, topic = "", extra = null } = {}) {
  return h("header", { class: "bar" }, drawer.button(),
    h("div", { class: "bar-title" }, h("h1", {}, mark && icon(mark), title), topic && h("p", { class: "topic" }, topic)), extra);
}

const strips = () => [h("div", { id: "banner" }), h("div", { id: "tour" })];

function homeRoom() {
  return [head(state.app.name, { mark: "home" }), homeTabs(HOME), h("div", { class: "home", id: "home" }), ...strips()];
}

function conversationRoom(channel) {
  const list = messageList({ id: "messages", "aria-label": "Messages" });
  const title = titleOf(channel);
  return [
    head(title, {
      mark: channel.is_channel && "hash", topic: channel.topic?.value,
      extra: channel.is_channel && h("span", { class: "members" }, `${channel.num_members} members`),
    }),
    channel.is_im && channel.members.includes(state.app.bot_user_id) && homeTabs(channel.id),
    h("div", { class: "messages-frame" }, list, toNewest(list)),
    ...strips(),
    h("div", { class: "below", id: "below" }),
    composer({ channel: channel.id, placeholder: `Message ${channel.is_channel ? "#" : ""}${title}` }),
  ].filter(Boolean);
}

function emptyRoom(channel) {
  const [command] = state.commands;
  return h("div", { class: "empty" },
    h("span", { class: "empty-mark" }, icon(channel.is_channel ? "hash" : "reply")),
    h("h2", {}, channel.is_channel ? `This is #${channel.name}` : titleOf(channel)),
    h("p", {}, channel.topic?.value || "Nothing was said here yet."),
    command && h("p", {}, "Type ", h("kbd", {}, command.name), " to begin, or just write."));
}

function drawBelow() {
  const { channel } = state.place;
  const node = byId("below");
  if (!node) return;
  const offer = state.prompts[channel];
  const status = [...state.statuses.values()].filter((one) => one.channel === channel).at(-1);
  renew(node,
    offer && h("div", { class: "prompts" }, offer.title && h("span", {}, offer.title), offer.prompts.map((prompt, index) =>
      h("button", { type: "button", class: "button small", dataset: { key: `prompt ${index}` }, onclick: () =>
        attempt(() => post("/control/say", { channel, user: state.acting, text: prompt.message })) }, prompt.title))),
    status && workingLine(status));
}
