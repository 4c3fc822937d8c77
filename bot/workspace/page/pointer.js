// A ring around what to click next in the tour. It is only for the eye: the strip says the same in words.

import { drawer } from "/page/drawer.js";
import { h } from "/page/dom.js";
import { currentStep, nextMove } from "/page/tour.js";

const MARGIN = 5;
const ring = h("div", { class: "pointer", "aria-hidden": "true", hidden: true });
document.body.append(ring);

function target() {
  const step = currentStep();
  if (!step || document.querySelector("dialog[open]")) return null;
  const move = nextMove(step);
  if (!move.target || (drawer.isOpen() && !move.inSidebar)) return null;
  if (move.inSidebar && drawer.isHidden()) return document.querySelector(".drawer-button");
  const node = typeof move.target === "string" ? document.querySelector(move.target) : move.target;
  return node?.querySelector(":scope .blocks") || node;
}

/** The part of a node that its scrolling list does not hide; null when there is none, or something is in front of it. */
function visibleBox(node) {
  const box = node.getBoundingClientRect();
  const frame = node.closest(".messages, .sidebar")?.getBoundingClientRect() || box;
  const top = Math.max(box.top, frame.top);
  const bottom = Math.min(box.bottom, frame.bottom);
  if (bottom - top < 8) return null;
  const front = document.elementFromPoint(box.left + box.width / 2, (top + bottom) / 2);
  if (!front || !(node.contains(front) || front.contains(node))) return null;
  return { top, left: box.left, width: box.width, height: bottom - top };
}

export function drawPointer() {
  const node = target();
  const box = node && visibleBox(node);
  ring.hidden = !box;
  if (!box) return;
  const margin = node.closest(".sidebar") ? 0 : MARGIN;
  ring.style.transform = `translate(${box.left - margin}px, ${box.top - margin}px)`;
  ring.style.width = `${box.width + 2 * margin}px`;
  ring.style.height = `${box.height + 2 * margin}px`;
}

for (const moved of ["scroll", "resize", "input"]) addEventListener(moved, () => requestAnimationFrame(drawPointer), { capture: true, passive: true });
