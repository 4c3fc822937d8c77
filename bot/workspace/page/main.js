// The page: sidebar, conversation, thread, and what keeps them current.

import { post } from "/page/api.js";
import { blockNodes } from "/page/blocks.js";
import { composer } from "/page/composer.js";
import { attempt, drawModal, toast, viewSurface } from "/page/dialogs.js";
import { fill, h, icon } from "/page/dom.js";
import { avatar, messageNode } from "/page/messages.js";
import {
  actAs, conversations, follow, load, markSeen, onChange, state, threadOf, titleOf, topLevel, unread, user,
} from "/page/store.js";
import { dayOf, fromTs } from "/page/time.js";

const GROUP_SECONDS = 300;
const HOME = "home";
const byId = (id) => document.getElementById(id);

// --- where we are

function readPlace() {
  const [, channel, thread] = location.hash.split("/");
  const fallback = conversations().rooms[0]?.id || "";
  const known = channel === HOME || state.channels.has(channel);
  const visible = known && (channel === HOME || state.channels.get(channel).is_channel || state.channels.get(channel).members?.includes(state.acting));
  const message = thread && state.messages.get(channel)?.get(thread);
  state.place = {
    channel: visible ? channel : fallback,
    thread: visible && message ? (message.is_reply ? message.thread_ts : message.ts) : null,
  };
}

function go(channel, thread = null) {
  location.hash = thread ? `#/${channel}/${thread}` : `#/${channel}`;
}

// --- sidebar

function drawSidebar() {
  const { rooms, direct } = conversations();
  const entry = (channel, mark) => {
    const count = channel.id === state.place.channel ? 0 : unread(channel.id);
    return h("li", {}, h("a", {
      href: `#/${channel.id}`, class: count ? "unread" : "", "aria-current": channel.id === state.place.channel ? "page" : null,
    }, mark, h("span", { class: "name" }, titleOf(channel)), count > 0 && h("span", { class: "count", "aria-label": `${count} new` }, String(count))));
  };
  fill(
    byId("sidebar"),
    h("div", { class: "team" }, h("span", { class: "team-mark", "aria-hidden": "true" }, state.team.name[0]), h("span", {}, state.team.name)),
    actingSelect(),
    h("ul", { class: "places" }, h("li", {}, h("a", {
      href: `#/${HOME}`, "aria-current": state.place.channel === HOME ? "page" : null,
    }, icon("home"), h("span", { class: "name" }, `${state.app.name} home`)))),
    h("h2", {}, "Channels"),
    h("ul", { class: "places" }, rooms.map((channel) => entry(channel, icon("hash")))),
    h("h2", {}, "Direct messages"),
    h("ul", { class: "places" }, direct.map((channel) => entry(channel, avatar(user(channel.members.find((id) => id !== state.acting)))))),
    state.switches.length > 0 && [h("h2", {}, "Switches"), h("div", { class: "switches" }, state.switches.map(switchButton))],
    connection(),
  );
}

function actingSelect() {
  const select = h("select", { id: "acting", onchange: (event) => { actAs(event.target.value); lookAtApp(); } },
    state.people.map((id) => h("option", { value: id }, user(id).real_name)));
  select.value = state.acting;
  const title = user(state.acting).profile.title;
  return h("div", { class: "acting" }, avatar(user(state.acting)),
    h("div", {}, h("label", { for: "acting" }, title ? `You are · ${title}` : "You are"), select));
}

function switchButton(item, index) {
  return h("button", {
    type: "button", class: item.danger ? "button danger" : "button", title: item.description,
    onclick: async (event) => {
      const node = event.currentTarget;
      node.setAttribute("aria-busy", "true");
      const done = await attempt(() => post(`/control/switches/${index}`));
      node.removeAttribute("aria-busy");
      if (done) toast(`${item.label}: done`);
    },
  }, item.label);
}

function connection() {
  const text = state.httpMode ? "App reached over HTTP" : state.connections
    ? `App connected${state.connections > 1 ? ` (${state.connections} sockets)` : ""}` : "App not connected";
  const good = state.live && (state.httpMode || state.connections > 0);
  return h("div", { class: good ? "connection good" : "connection", role: "status" },
    h("span", { class: "dot", "aria-hidden": "true" }), state.live ? text : "Reconnecting to the workspace…");
}

// --- conversation

let drawn = { room: "", thread: "" };

function drawRoom() {
  const { channel: id } = state.place;
  document.title = id === HOME ? `${state.app.name} · ${state.team.name}` : `${titleOf(state.channels.get(id))} · ${state.team.name}`;
  if (id === HOME) return drawHome();
  const channel = state.channels.get(id);
  const key = `${state.acting} ${id}`;
  if (drawn.room !== key) {
    drawn.room = key;
    const list = h("div", { class: "messages", id: "messages", role: "log", "aria-label": "Messages", tabindex: "0" });
    byId("room").replaceChildren(
      h("header", { class: "bar" }, menuButton(),
        h("div", { class: "bar-title" }, h("h1", {}, channel.is_channel && icon("hash"), titleOf(channel)),
          channel.topic?.value && h("p", { class: "topic" }, channel.topic.value)),
        channel.is_channel && h("span", { class: "members" }, `${channel.num_members} members`)),
      list,
      h("div", { class: "below", id: "below" }),
      composer({ channel: id, placeholder: `Message ${channel.is_channel ? "#" : ""}${titleOf(channel)}` }),
    );
  }
  fillList(byId("messages"), topLevel(id), { inThread: false, empty: emptyRoom(channel) });
  drawBelow();
  markSeen(id);
  return undefined;
}

function menuButton() {
  return h("button", { type: "button", class: "quiet menu-button", "aria-label": "Channels", onclick: () => byId("app").classList.toggle("show-sidebar") }, icon("menu"));
}

function emptyRoom(channel) {
  const hint = state.commands.length ? `Type ${state.commands[0].name} ${state.commands[0].usage_hint} to begin.` : "Say something.";
  return h("div", { class: "empty" }, h("h2", {}, channel.is_channel ? `#${channel.name}` : titleOf(channel)),
    h("p", {}, "Nothing here yet. ", hint));
}

function drawBelow() {
  const { channel } = state.place;
  const offer = state.prompts[channel];
  const statuses = [...state.statuses].filter(([key]) => key.startsWith(`${channel} `)).map(([, status]) => status);
  byId("below")?.replaceChildren(
    ...[offer && h("div", { class: "prompts" }, offer.title && h("span", {}, offer.title), offer.prompts.map((prompt) =>
      h("button", { type: "button", class: "button", onclick: () =>
        attempt(() => post("/control/say", { channel, user: state.acting, text: prompt.message })) }, prompt.title))),
    statuses.length > 0 && h("p", { class: "status" }, `${state.app.name} ${statuses.at(-1)}`)].filter(Boolean),
  );
}

function drawHome() {
  const view = state.homes[state.acting];
  drawn.room = HOME;
  byId("room").replaceChildren(
    h("header", { class: "bar" }, menuButton(), h("div", { class: "bar-title" }, h("h1", {}, icon("home"), `${state.app.name} home`))),
    h("div", { class: "home", id: "home" }, view ? h("div", { class: "home-body" }, blockNodes(view.blocks, viewSurface(view)))
      : h("div", { class: "empty" }, h("h2", {}, state.app.name), h("p", {}, "The app has not published its Home tab yet."))),
  );
}

// --- thread

function drawThread() {
  const { channel, thread } = state.place;
  const panel = byId("thread");
  panel.hidden = !thread;
  byId("app").classList.toggle("with-thread", Boolean(thread));
  if (!thread) {
    drawn.thread = "";
    panel.replaceChildren();
    return;
  }
  const key = `${state.acting} ${channel} ${thread}`;
  if (drawn.thread !== key) {
    drawn.thread = key;
    panel.replaceChildren(
      h("header", { class: "bar" }, h("div", { class: "bar-title" }, h("h1", {}, "Thread"), h("p", { class: "topic" }, `${state.channels.get(channel).is_channel ? "#" : ""}${titleOf(state.channels.get(channel))}`)),
        h("button", { type: "button", class: "quiet", "aria-label": "Close thread", onclick: () => go(channel) }, icon("close"))),
      h("div", { class: "messages", id: "replies", role: "log", "aria-label": "Replies", tabindex: "0" }),
      h("p", { class: "status", id: "thread-status" }),
      composer({ channel, thread, placeholder: "Reply…" }),
    );
  }
  fillList(byId("replies"), threadOf(channel, thread), { inThread: true });
  const status = state.statuses.get(`${channel} ${thread}`);
  byId("thread-status").textContent = status ? `${state.app.name} ${status}` : "";
}

// --- lists of messages, changed in place

function fillList(list, messages, { inThread, empty }) {
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 80;
  const keep = new Map([...list.children].filter((node) => node.dataset.key).map((node) => [node.dataset.key, node]));
  const wanted = [];
  let before = null;
  let today = null;
  for (const message of messages) {
    const day = dayOf(fromTs(message.ts));
    if (today !== day) {
      today = day;
      wanted.push(reuse(keep, `day ${day}`, "", () => h("div", { class: "day" }, h("span", {}, day))));
    }
    const grouped = Boolean(before) && before.user === message.user && !before.ephemeral_to === !message.ephemeral_to
      && Number(message.ts) - Number(before.ts) < GROUP_SECONDS && !before.blocks?.length && !message.blocks?.length;
    const minute = message.reply_count ? Math.floor(Date.now() / 60_000) : "";
    wanted.push(reuse(keep, message.ts, `${grouped} ${minute} ${JSON.stringify(message)}`, () =>
      messageNode(message, { inThread, grouped, onThread: (ts) => go(state.place.channel, ts) })));
    if (inThread && message.ts === state.place.thread && messages.length > 1) {
      const count = messages.length - 1;
      const text = `${count} ${count === 1 ? "reply" : "replies"}`;
      wanted.push(reuse(keep, "count", text, () => h("div", { class: "day replies" }, h("span", {}, text))));
      before = null;
      continue;
    }
    before = message;
  }
  if (!messages.length && empty) wanted.push(empty);
  place(list, wanted);
  if (atEnd) list.scrollTop = list.scrollHeight;
}

const versions = new WeakMap();

function reuse(keep, key, version, build) {
  const old = keep.get(key);
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
  return node.querySelector(".menu[open]") !== null || (node.contains(active) && active.matches("input, textarea, select"));
}

/** What was folded out stays so when a message is drawn anew. */
function keepOpen(old, node) {
  const before = old.querySelectorAll("details");
  const after = node.querySelectorAll("details");
  if (before.length === after.length) after.forEach((details, index) => { details.open = before[index].open; });
}

/** Puts the wanted nodes in order, leaving those alone that stay, and the focus where it was. */
function place(list, wanted) {
  const focus = list.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const staying = new Set(wanted);
  for (const node of [...list.children]) if (!staying.has(node)) node.remove();
  wanted.forEach((node, index) => {
    if (list.children[index] !== node) list.insertBefore(node, list.children[index] || null);
  });
  if (focus && document.activeElement === document.body) {
    [...list.querySelectorAll("[data-key]")].find((node) => node.dataset.key === focus)?.focus();
  }
}

// --- drawing

let scheduled = false;
let pressed = false;
let waiting = false;

function draw() {
  scheduled = false;
  if (pressed) {
    waiting = true;
    return;
  }
  readPlace();
  drawSidebar();
  drawRoom();
  drawThread();
  drawModal();
}

function schedule() {
  if (scheduled) return;
  scheduled = true;
  requestAnimationFrame(draw);
}

// A card that is redrawn between pressing and releasing a button would swallow the click.
document.addEventListener("pointerdown", () => { pressed = true; }, true);
for (const end of ["pointerup", "pointercancel"]) {
  document.addEventListener(end, () => setTimeout(() => {
    pressed = false;
    if (waiting) { waiting = false; schedule(); }
  }), true);
}

document.addEventListener("focusout", schedule);
document.addEventListener("toggle", schedule, true);

onChange((kind) => {
  if (kind === "all") drawn = { room: "", thread: "" };
  schedule();
});

/** Slack tells the app whenever somebody looks at its Home tab or at the conversation with it. */
function lookAtApp() {
  readPlace();
  const { channel } = state.place;
  const tab = channel === HOME ? "home" : state.channels.get(channel)?.is_im && "messages";
  if (tab) attempt(() => post("/control/home", { user: state.acting, tab }));
}

window.addEventListener("hashchange", () => {
  byId("app").classList.remove("show-sidebar");
  lookAtApp();
  schedule();
});

document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && state.place.thread && !document.querySelector("dialog[open]")) go(state.place.channel);
});

setInterval(schedule, 60_000);

follow(await load());
lookAtApp();
