// What can be made to go wrong: the demo's switches, and Slack itself.

import { post } from "/page/api.js";
import { h, icon } from "/page/dom.js";
import { keep, kept } from "/page/memory.js";
import { attempt, toast } from "/page/notices.js";
import { state } from "/page/store.js";

const SLOW_SECONDS = 30;

const TROUBLES = [
  {
    label: "Slack is away", note: "Nothing goes in or out until it is back.",
    on: () => state.faults.outage !== null, set: (on) => post("/control/faults/outage", { on }),
  },
  {
    label: "Slack asks to slow down", note: `For ${SLOW_SECONDS} s every call is told to wait 3 s.`,
    on: () => state.faults.limits.length > 0, set: slowDown,
  },
  {
    label: "Everything arrives twice", note: "As when Slack redelivers what was answered too late.",
    on: () => state.faults.copies > 1, set: (on) => post("/control/faults/duplicates", { copies: on ? 2 : 1 }),
  },
];

async function slowDown(on) {
  await post("/control/faults/rate_limit", on ? { seconds: SLOW_SECONDS, retry_after: 3 } : { on: false });
  // The server forgets a limit when the next call comes; the panel should say so on time.
  if (on) setTimeout(() => attempt(() => post("/control/faults/rate_limit", { on: false })), SLOW_SECONDS * 1000);
}

function toggle({ label, note, on, set }) {
  const isOn = on();
  return h("button", {
    type: "button", role: "switch", "aria-checked": String(isOn), class: "toggle", dataset: { key: label },
    onclick: () => attempt(() => set(!isOn)),
  }, h("span", { class: "track", "aria-hidden": "true" }), h("span", {}, label, h("small", {}, note)));
}

function press(item, index) {
  return h("button", {
    type: "button", class: item.danger ? "button small danger" : "button small", "aria-pressed": String(item.pressed),
    title: item.description, dataset: { key: `switch ${index}`, switch: item.label },
    onclick: async () => {
      const done = await attempt(() => post(`/control/switches/${index}`));
      if (done) toast(`${item.label}: done`);
    },
  }, item.pressed && icon("check"), item.label);
}

export function faultPanel() {
  const count = TROUBLES.filter((trouble) => trouble.on()).length;
  return [
    state.switches.length > 0 && [h("h2", {}, "Try it out"), h("div", { class: "switches" }, state.switches.map(press))],
    h("details", {
      class: "troubles", open: kept("troubles", false), ontoggle: (event) => keep("troubles", event.currentTarget.open),
    },
    h("summary", { dataset: { key: "troubles" } }, "Trouble with Slack", count > 0 && h("span", { class: "count bad" }, `${count} on`)),
    TROUBLES.map(toggle)),
  ];
}

/** What everybody should know while Slack is in trouble. */
export function faultBanner() {
  const on = TROUBLES.filter((trouble) => trouble.on());
  if (!on.length) return null;
  return h("div", { class: "banner", role: "status" }, icon("alert"), h("span", {}, on.map((trouble) => `${trouble.label}.`).join(" ")),
    h("button", { type: "button", class: "button small", dataset: { key: "mend" }, onclick: () => attempt(() => post("/control/faults/clear")) },
      "Make it work again"));
}

