// Where the acting person is: the address after #, as #/CHANNEL or #/CHANNEL/THREAD.

import { post } from "/page/api.js";
import { attempt } from "/page/notices.js";
import { conversations, state } from "/page/store.js";

export const HOME = "home";

function mayEnter(id) {
  const channel = state.channels.get(id);
  return id === HOME || Boolean(channel && (channel.is_channel || channel.members?.includes(state.acting)));
}

export function readPlace() {
  const [, channel, thread] = location.hash.split("/");
  const inside = mayEnter(channel);
  const message = inside && thread && state.messages.get(channel)?.get(thread);
  state.place = {
    channel: inside ? channel : conversations().rooms[0]?.id || "",
    thread: message ? (message.is_reply ? message.thread_ts : message.ts) : null,
  };
}

export function go(channel, thread = null) {
  location.hash = thread ? `#/${channel}/${thread}` : `#/${channel}`;
}

/** Slack tells the app whenever somebody looks at its Home tab or at the conversation with it. */
export function lookAtApp() {
  readPlace();
  const { channel } = state.place;
  const tab = channel === HOME ? "home" : state.channels.get(channel)?.is_im && "messages";
  if (tab) attempt(() => post("/control/home", { user: state.acting, tab }));
}

/** The conversation of the acting person with the app. */
export function conversationWithApp() {
  return conversations().direct.find((channel) => channel.is_im && channel.members.includes(state.app.bot_user_id));
}
