// What the app is doing in a thread, with the button that stops it.

import { post } from "/page/api.js";
import { h, icon } from "/page/dom.js";
import { attempt } from "/page/notices.js";
import { state } from "/page/store.js";

export function workingLine(status) {
  const { channel, thread_ts } = status;
  return h("p", { class: "status" }, `${state.app.name} ${status.status}`, status.stops &&
    h("button", { type: "button", class: "button small", dataset: { key: `stop ${thread_ts}` }, onclick: () =>
      attempt(() => post("/control/stop", { channel, thread_ts, user: state.acting })) }, icon("stop"), "Stop"));
}
