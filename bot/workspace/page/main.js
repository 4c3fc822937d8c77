// The page: puts its parts together and draws them when something changed.

import { drawer } from "/page/drawer.js";
import { drawModal } from "/page/modals.js";
import { announce } from "/page/notices.js";
import { openPalette } from "/page/palette.js";
import { go, lookAtApp, readPlace } from "/page/place.js";
import { drawPointer } from "/page/pointer.js";
import { drawRoom, forgetRoom } from "/page/room.js";
import { drawSidebar } from "/page/sidebar.js";
import { follow, load, onChange, state, user } from "/page/store.js";
import { drawThread, forgetThread } from "/page/thread.js";

const MOST_ANNOUNCED = 160;
let scheduled = false;
let pressed = false;
let waiting = false;

function draw() {
  scheduled = false;
  if (pressed) {
    waiting = true;
    return;
  }
  // A key or an address may come before anything is known; what is loaded then draws.
  if (!state.channels.size) return;
  readPlace();
  drawRoom();
  drawThread();
  drawSidebar();
  drawModal();
  drawPointer();
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

onChange((kind, data) => {
  if (kind === "all") {
    forgetRoom();
    forgetThread();
  }
  if (kind === "new") tellNew(data);
  schedule();
});

/** A new message where one looks is also said; changed cards are not, they would never be silent. */
function tellNew(message) {
  const here = message.channel === state.place.channel && (!message.is_reply || message.thread_ts === state.place.thread);
  const visible = !message.ephemeral_to || message.ephemeral_to === state.acting;
  if (here && visible && message.user !== state.acting) announce(`${user(message.user).real_name}: ${message.text.slice(0, MOST_ANNOUNCED)}`);
}

addEventListener("hashchange", () => {
  drawer.close();
  lookAtApp();
  schedule();
});

document.addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    openPalette();
  }
  if (event.key !== "Escape" || event.defaultPrevented || document.querySelector("dialog[open]")) return;
  if (drawer.isOpen()) drawer.close();
  else if (state.place.thread) leaveThread();
});

function leaveThread() {
  const { channel, thread } = state.place;
  go(channel);
  requestAnimationFrame(() => requestAnimationFrame(() => document.getElementById(`m${thread}`)?.focus({ preventScroll: true })));
}

setInterval(schedule, 60_000);

follow(await load());
lookAtApp();
