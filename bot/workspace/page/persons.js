// Who one acts as: everybody of the workspace, with what waits for them.

import { avatar } from "/page/messages.js";
import { h } from "/page/dom.js";
import { lookAtApp } from "/page/place.js";
import { actAs, state, user } from "/page/store.js";
import { waitingFor } from "/page/unread.js";

function become(id) {
  if (id === state.acting) return;
  actAs(id);
  lookAtApp();
}

function keys(event) {
  const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const others = [...event.currentTarget.querySelectorAll("[role=radio]")];
  others.at((others.indexOf(document.activeElement) + step) % others.length).focus();
}

function person(id) {
  const { real_name: name, profile } = user(id);
  const chosen = id === state.acting;
  const waiting = chosen ? 0 : waitingFor(id);
  const part = state.parts[id];
  return h("button", {
    type: "button", role: "radio", "aria-checked": String(chosen), tabindex: chosen ? "0" : "-1", class: "person",
    dataset: { key: `person ${id}`, person: id }, onclick: () => become(id),
  },
  avatar(user(id)),
  h("span", { class: "person-text" }, h("span", { class: "person-name" }, name),
    h("small", {}, [profile?.title, part].filter(Boolean).join(" · "))),
  waiting > 0 && h("span", { class: "count" }, String(waiting), h("span", { class: "unseen" }, ` new for ${name}`)));
}

export function personSwitch() {
  return h("div", { class: "persons", role: "radiogroup", "aria-label": "You are", onkeydown: keys }, state.people.map(person));
}
