// The guided tour: one step at a time, done when the app shows that it is. What is remembered survives a reload.

import { write } from "/page/composer.js";
import { drawer } from "/page/drawer.js";
import { h, icon } from "/page/dom.js";
import { keep, kept } from "/page/memory.js";
import { announce } from "/page/notices.js";
import { go, lookAtApp } from "/page/place.js";
import { actAs, changed, onChange, saidIn, state, user } from "/page/store.js";

let tour = kept("tour", null);

function remember(change) {
  tour = { ...tour, ...change };
  keep("tour", tour);
}

/** From the first step: what was said before no longer counts. */
function begin() {
  const last = [...state.messages.values()].flatMap((messages) => [...messages.keys()]).sort().at(-1) || "0";
  remember({ step: 0, since: last, open: true });
}

/** Whoever opens another window in the middle is led on from there. */
function join() {
  remember({ step: 0, since: "0", open: true });
  advance();
  if (tour.step >= state.tour.length) begin();
}

/** Whether one of the app's messages since the tour began says all that shows a step is done. */
function isDone(step) {
  return [...state.messages.values()].some((messages) => [...messages.values()].some((message) => {
    if (message.ts <= tour.since || message.user !== state.app.bot_user_id) return false;
    return step.done.every((words) => saidIn(message).includes(words));
  }));
}

function advance() {
  const last = state.tour.findLastIndex((step, index) => index >= tour.step && isDone(step));
  if (last < 0) return;
  remember({ step: last + 1 });
  if (tour.open) announce(tour.step < state.tour.length ? `Step ${tour.step + 1}: ${state.tour[tour.step].title}` : "The tour is done.");
}

onChange((kind) => {
  if (!state.tour.length) return;
  if (!tour) join();
  if (["all", "new", "message"].includes(kind)) advance();
});

export function currentStep() {
  return state.tour.length && tour?.open ? state.tour[tour.step] || null : null;
}

/** What stands between the person and the step: {label, act, target}, target being what to click for it. */
export function nextMove(step) {
  if (state.acting !== step.person) {
    const first = user(step.person).real_name.split(" ")[0];
    return { label: `Become ${first}`, act: () => { actAs(step.person); lookAtApp(); drawer.close(); }, target: `[data-person="${step.person}"]`, inSidebar: true };
  }
  if (state.place.channel !== step.channel) {
    return { label: `Go to #${state.channels.get(step.channel).name}`, act: () => go(step.channel), target: `#sidebar a[href="#/${step.channel}"]`, inSidebar: true };
  }
  return MOVES[step.target](step);
}

const roomField = () => document.querySelector("#room .composer textarea");

const MOVES = {
  composer: (step) => (roomField()?.value.trim() === step.name
    ? { label: "Send it", act: () => roomField().form.requestSubmit(), target: "#room .send" }
    : { label: "Write it for me", act: () => write(roomField(), step.name), target: "#room .composer-box" }),
  button: (step) => found(lastOf("#messages button.button", (node) => node.textContent.trim() === step.name)),
  message: (step) => found(lastOf("#messages .message", (node) => node.textContent.includes(step.name))),
  switch: (step) => found(lastOf("[data-switch]", (node) => node.dataset.switch === step.name), { inSidebar: true }),
};

function lastOf(selector, fits) {
  return [...document.querySelectorAll(selector)].findLast(fits) || null;
}

function found(node, more = {}) {
  if (!node) return { label: null, target: null };
  return {
    label: "Show me", target: node, ...more,
    act: () => {
      if (more.inSidebar && drawer.isHidden()) document.querySelector(".drawer-button").click();
      node.scrollIntoView({ block: "center" });
      (node.matches("button, a") ? node : node.closest(".message"))?.focus({ preventScroll: true });
    },
  };
}

/** The strip above the composer: the step that is on, or the end. */
export function tourStrip() {
  if (!state.tour.length || !tour?.open) return null;
  const step = state.tour[tour.step];
  const leave = h("button", { type: "button", class: "quiet", "aria-label": "Leave the tour", title: "Leave the tour", dataset: { key: "leave" },
    onclick: () => { remember({ open: false }); changed("tour"); } }, icon("close"));
  if (!step) return strip("Tour done", "That was a whole rollout.", "Everything that was decided stands in the card's thread. Try the rest with /rollout help.", null, leave);
  const move = nextMove(step);
  const button = move.label && h("button", { type: "button", class: "button small primary", dataset: { key: "move" }, onclick: () => { move.act(); changed("tour"); } }, move.label);
  return strip(`Step ${tour.step + 1} of ${state.tour.length}`, step.title, step.text, button, leave);
}

function strip(where, title, text, button, leave) {
  const dots = h("span", { class: "dots", "aria-hidden": "true" }, state.tour.map((_, index) =>
    h("span", { class: index < tour.step ? "done" : index === tour.step ? "now" : "" })));
  return h("section", { class: "tour", "aria-label": "Guided tour" },
    h("div", { class: "tour-where" }, h("span", {}, where), dots),
    h("div", { class: "tour-text" }, h("strong", {}, title), " ", h("span", {}, text)),
    h("div", { class: "tour-buttons" }, button, leave));
}

export function tourButton() {
  if (!state.tour.length || !tour || currentStep()) return null;
  const over = tour.step >= state.tour.length;
  return h("button", {
    type: "button", class: "button small tour-start", dataset: { key: "tour" },
    onclick: () => { if (over) begin(); else remember({ open: true }); changed("tour"); },
  }, icon("flag"), over ? "Take the tour again" : `Go on with the tour (step ${tour.step + 1})`);
}
