// The panel of one thread.

import { composer } from "/page/composer.js";
import { h, icon, renew } from "/page/dom.js";
import { fillList, messageList, toNewest } from "/page/list.js";
import { go } from "/page/place.js";
import { state, threadOf, titleOf } from "/page/store.js";
import { markRead, readUpTo } from "/page/unread.js";
import { workingLine } from "/page/working.js";

const byId = (id) => document.getElementById(id);
let drawn = { key: "", fresh: null };

export function forgetThread() {
  drawn = { key: "", fresh: null };
}

export function drawThread() {
  const { channel, thread } = state.place;
  const panel = byId("thread");
  const opened = panel.hidden && thread;
  panel.hidden = !thread;
  byId("app").classList.toggle("with-thread", Boolean(thread));
  if (!thread) {
    forgetThread();
    panel.replaceChildren();
    return;
  }
  const key = `${state.acting} ${channel} ${thread}`;
  if (drawn.key !== key) {
    drawn = { key, fresh: readUpTo(state.acting, channel, thread) };
    panel.replaceChildren(...threadRoom(state.channels.get(channel), thread));
  }
  const parent = state.messages.get(channel).get(thread);
  const fresh = parent?.latest_reply > drawn.fresh && drawn.fresh > thread ? drawn.fresh : null;
  fillList(byId("replies"), threadOf(channel, thread), { inThread: true, fresh });
  const status = state.statuses.get(`${channel} ${thread}`);
  renew(byId("thread-status"), status && workingLine(status));
  markRead(channel, thread);
  if (opened && state.ready) panel.querySelector("textarea").focus({ preventScroll: true });
}

function threadRoom(channel, thread) {
  const list = messageList({ id: "replies", "aria-label": "Replies" });
  return [
    h("header", { class: "bar" },
      h("div", { class: "bar-title" }, h("h2", {}, "Thread"),
        h("p", { class: "topic" }, `${channel.is_channel ? "#" : ""}${titleOf(channel)}`)),
      h("button", { type: "button", class: "quiet", "aria-label": "Close thread", onclick: () => go(channel.id) }, icon("close"))),
    h("div", { class: "messages-frame" }, list, toNewest(list)),
    h("div", { class: "status-room", id: "thread-status" }),
    composer({ channel: channel.id, thread, placeholder: "Reply…" }),
  ];
}
