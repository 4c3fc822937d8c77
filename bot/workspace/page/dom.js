// Builds elements. Text always arrives as text nodes, so nothing that was written in the workspace is ever markup.

/** h("button", {class: "primary", onclick: f}, "Go", otherNode): null and false children are left out. */
export function h(tag, props = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "class") node.className = value;
    else if (name === "value" || name === "checked" || name === "selected") node[name] = value;
    else if (name === "dataset") Object.assign(node.dataset, value);
    else node.setAttribute(name, value === true ? "" : String(value));
  }
  append(node, children);
  return node;
}

/** Appends strings and nodes, however deeply the arrays are nested. */
export function append(node, children) {
  for (const child of [children].flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    node.append(child);
  }
  return node;
}

/** Replaces what is in `node`; arrays and empty children as in `h`. */
export function fill(node, ...children) {
  node.replaceChildren();
  return append(node, children);
}

const drawn = new WeakMap();

/** As `fill`, but leaves `node` alone where nothing would change, and the focus on the part with the same data-key. */
export function renew(node, ...children) {
  const next = append(document.createElement("div"), children);
  if (drawn.get(node) === next.innerHTML) return;
  drawn.set(node, next.innerHTML);
  const key = node.contains(document.activeElement) ? document.activeElement.dataset.key : null;
  const scrolled = node.scrollTop;
  node.replaceChildren(...next.childNodes);
  node.scrollTop = scrolled;
  if (key) focusOn(node, key);
}

/** Puts the focus on the element with that data-key. */
export function focusOn(node, key) {
  [...node.querySelectorAll("[data-key]")].find((one) => one.dataset.key === key)?.focus();
}

/** Only addresses that a person may safely follow. */
export function safeUrl(url) {
  try {
    const parsed = new URL(url, location.href);
    return ["http:", "https:", "mailto:"].includes(parsed.protocol) ? parsed.href : null;
  } catch {
    return null;
  }
}

const PERMALINK = /^\/archives\/(\w+)(?:\/p(\d+)(\d{6}))?$/;

/** Where on this page a message of this workspace is, by its permalink; null for any other address. */
function placeOf(href) {
  const { origin, pathname } = new URL(href);
  const [, channel, seconds, micros] = (origin === location.origin && PERMALINK.exec(pathname)) || [];
  return channel ? `#/${channel}${seconds ? `/${seconds}.${micros}` : ""}` : null;
}

/** A link; one to a message of this workspace stays on the page. */
export function link(url, ...children) {
  const href = safeUrl(url);
  if (!href) return h("span", {}, ...children);
  const place = placeOf(href);
  if (place) return h("a", { href: place }, ...children);
  return h("a", { href, target: "_blank", rel: "noreferrer noopener" }, ...children);
}

/** Follow an address as a link to it would. */
export function follow(url) {
  const href = url && safeUrl(url);
  const place = href && placeOf(href);
  if (place) location.hash = place;
  else if (href) window.open(href, "_blank", "noopener,noreferrer");
}

const ICONS = {
  hash: "M6 3 5 13M11 3l-1 10M3 6h11M2 10h11",
  home: "M2.5 7.5 8 3l5.5 4.5V13h-4v-3.5h-3V13h-4z",
  close: "M4 4l8 8M12 4l-8 8",
  stop: "M4.5 4.5h7v7h-7z",
  reply: "M14 8c0 2.8-2.7 5-6 5-.9 0-1.8-.2-2.6-.5L2 13.5l1-2.7C2.4 10 2 9 2 8c0-2.8 2.7-5 6-5s6 2.2 6 5z",
  edit: "M3 13l.7-2.8L10.5 3.4l2.1 2.1-6.8 6.8z",
  trash: "M3 4.5h10M6.5 4.5V3h3v1.5M4.5 4.5l.6 8.5h5.8l.6-8.5",
  eye: "M1.8 8S4 4 8 4s6.2 4 6.2 4S12 12 8 12 1.8 8 1.8 8zM8 9.6a1.6 1.6 0 1 0 0-3.2 1.6 1.6 0 0 0 0 3.2z",
  menu: "M2.5 4.5h11M2.5 8h11M2.5 11.5h11",
  send: "M2.5 8 13.5 3l-3 10.5-2.7-4.3z",
  more: "M3.5 8h.1M8 8h.1M12.5 8h.1",
  file: "M4 2.5h5l3 3v8H4zM9 2.5v3h3",
  bolt: "M9 2 3.5 9H8l-1 5 5.5-7H8z",
  link: "M6.8 9.2 9.2 6.8M7 4.8l1-1a2.6 2.6 0 0 1 3.7 3.7l-1.2 1.2M9 11.2l-1 1a2.6 2.6 0 0 1-3.7-3.7l1.2-1.2",
  down: "M8 3v9M4 8.5 8 12.5l4-4",
  back: "M13 8H3.5M7 4 3 8l4 4",
  search: "M7 11.5a4.5 4.5 0 1 0 0-9 4.5 4.5 0 0 0 0 9zM10.4 10.4 13.5 13.5",
  sun: "M8 10.8a2.8 2.8 0 1 0 0-5.6 2.8 2.8 0 0 0 0 5.6zM8 1.5v1.2M8 13.3v1.2M1.5 8h1.2M13.3 8h1.2M3.4 3.4l.9.9M11.7 11.7l.9.9M12.6 3.4l-.9.9M4.3 11.7l-.9.9",
  moon: "M13 9.6A5.5 5.5 0 0 1 6.4 3 5.5 5.5 0 1 0 13 9.6z",
  screen: "M2 3.5h12v7.5H2zM6 13.5h4M8 11v2.5",
  flag: "M4 14V2.5M4 3h8l-1.8 2.8L12 8.6H4",
  check: "M3 8.5 6.5 12 13 4.5",
  gate: "M3 5h10M3 8h7M3 11h4",
  alert: "M8 2.5 14.5 13.5h-13zM8 6.5v3.2M8 11.6v.1",
};

export function icon(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  svg.setAttribute("viewBox", "0 0 16 16");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", ICONS[name]);
  svg.append(path);
  return svg;
}
