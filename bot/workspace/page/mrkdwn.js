// Slack's mrkdwn, and the subset of Markdown that the markdown block takes, as DOM nodes.

import { h, link } from "/page/dom.js";
import { emoji } from "/page/emoji.js";
import { state, user } from "/page/store.js";
import { formatDate, full, fromTs } from "/page/time.js";

export function unescape(text) {
  return text.replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
}

/** Plain text: line breaks kept, emoji shortcodes shown. */
export function plain(text, { withEmoji = true } = {}) {
  const parts = [];
  unescape(String(text ?? "")).split("\n").forEach((line, index) => {
    if (index) parts.push(h("br"));
    parts.push(withEmoji ? withEmojis(line) : line);
  });
  return parts.flat();
}

export function textObject(object) {
  if (!object) return [];
  return object.type === "mrkdwn" ? mrkdwn(object.text) : plain(object.text, { withEmoji: object.emoji !== false });
}

function withEmojis(text) {
  return text.split(/(:[a-z0-9_+-]+(?:::skin-tone-[2-6])?:)/).map((part, index) => (index % 2 ? emoji(part.slice(1, -1)) : part));
}

// --- mrkdwn

export function mrkdwn(text) {
  const nodes = [];
  const source = String(text ?? "");
  source.split(/```/).forEach((part, index, all) => {
    if (index % 2 && index < all.length - 1) {
      nodes.push(h("pre", {}, h("code", {}, ...tokens(part.replace(/^\n|\n$/g, ""), { raw: true }))));
    } else {
      const whole = index % 2 ? "```" + part : part;
      nodes.push(...lines(index > 0 ? whole.replace(/^\n/, "") : whole));
    }
  });
  return nodes;
}

function lines(text) {
  const nodes = [];
  let quote = null;
  const rows = text.split("\n");
  rows.forEach((row, index) => {
    const quoted = /^(?:&gt;|>) ?(.*)$/.exec(row);
    if (quoted) {
      if (!quote) nodes.push((quote = h("blockquote")));
      else quote.append(h("br"));
      quote.append(...inline(quoted[1]));
      return;
    }
    if (index && !quote) nodes.push(h("br"));
    quote = null;
    nodes.push(...inline(row));
  });
  return nodes;
}

const SPANS = [
  { open: "`", tag: "code", raw: true },
  { open: "*", tag: "strong" },
  { open: "_", tag: "em" },
  { open: "~", tag: "s" },
];

function inline(text) {
  const best = SPANS.map((span) => ({ span, match: spanPattern(span.open).exec(text) }))
    .filter(({ match }) => match)
    .sort((a, b) => a.match.index + a.match[1].length - (b.match.index + b.match[1].length))[0];
  if (!best) return tokens(text);
  const { span, match } = best;
  const start = match.index + match[1].length;
  const end = start + match[2].length + 2;
  const inside = span.raw ? tokens(match[2], { raw: true }) : inline(match[2]);
  return [...tokens(text.slice(0, start)), h(span.tag, {}, ...inside), ...inline(text.slice(end))];
}

const patterns = new Map();

/** A mark opens at a word's start and closes at a word's end, and not inside <...>. */
function spanPattern(mark) {
  if (!patterns.has(mark)) {
    const m = `\\${mark}`;
    const inner = mark === "`" ? `[^${m}\\n]+` : `(?=\\S)(?:<[^<>]*>|[^${m}\\n<])*?(?:<[^<>]*>|[^${m}\\s<])`;
    patterns.set(mark, new RegExp(`(^|[^\\w<${m}/|@#!^-])${m}(${inner})${m}(?![\\w${m}])`));
  }
  return patterns.get(mark);
}

function tokens(text, { raw = false } = {}) {
  return text.split(/(<[^<>\n]+>)/).flatMap((part, index) => {
    if (index % 2) return [token(part.slice(1, -1)) ?? unescape(part)];
    return raw ? [unescape(part)] : withEmojis(unescape(part));
  });
}

function token(body) {
  const [target, label] = splitOnce(body, "|");
  if (/^@[UW]/.test(target)) return mention(target.slice(1));
  if (target.startsWith("#")) return room(target.slice(1), label);
  if (target.startsWith("!date^")) return dateToken(target, label);
  if (target.startsWith("!subteam^")) return groupMention(target.slice(9), label);
  if (/^!(here|channel|everyone)/.test(target)) return h("span", { class: "mention" }, "@", target.slice(1));
  if (/^(https?:|mailto:)/.test(target)) return link(unescape(target), unescape(label ?? target));
  return null;
}

function splitOnce(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text] : [text.slice(0, at), text.slice(at + 1)];
}

/** A user group; its members' names show when one points at it. */
export function groupMention(id, label) {
  const group = state.groups.get(id);
  const name = (label || group?.handle || id).replace(/^@/, "");
  const mine = group?.members.includes(state.acting);
  return h("span", { class: mine ? "mention mine" : "mention", title: group?.members.map((one) => user(one).real_name).join(", ") }, "@", name);
}

export function mention(id) {
  return h("span", { class: id === state.acting ? "mention mine" : "mention", title: user(id).real_name }, "@", user(id).name);
}

export function room(id, label) {
  const name = state.channels.get(id)?.name || label || id;
  return h("a", { class: "mention", href: `#/${id}` }, "#", name);
}

function dateToken(target, fallback) {
  const [, timestamp, pattern, url] = target.split("^");
  if (!/^\d+$/.test(timestamp || "") || !pattern) return h("span", {}, fallback || "");
  const shown = h("time", { datetime: fromTs(timestamp).toISOString(), title: full(fromTs(timestamp)) }, formatDate(timestamp, pattern));
  return url ? link(unescape(url), shown) : shown;
}

// --- Markdown

export function markdown(text) {
  const rows = String(text ?? "").split("\n");
  const nodes = [];
  let at = 0;
  while (at < rows.length) {
    const [node, next] = markdownBlock(rows, at);
    if (node) nodes.push(node);
    at = next;
  }
  return nodes;
}

const LIST_ROW = /^(\s*)([-*+]|\d+[.)])\s+(.*)$/;

function markdownBlock(rows, at) {
  const row = rows[at];
  if (!row.trim()) return [null, at + 1];
  const fence = /^```(\w*)/.exec(row);
  if (fence) {
    const end = rows.findIndex((other, index) => index > at && other.startsWith("```"));
    const stop = end < 0 ? rows.length : end;
    return [h("pre", {}, h("code", {}, rows.slice(at + 1, stop).join("\n"))), stop + 1];
  }
  const heading = /^(#{1,6})\s+(.*)$/.exec(row);
  if (heading) return [h(`h${Math.min(6, heading[1].length + 2)}`, {}, ...markdownInline(heading[2])), at + 1];
  if (/^(\s*[-*_]){3,}\s*$/.test(row)) return [h("hr"), at + 1];
  if (/^>/.test(row)) {
    const stop = until(rows, at, (other) => !/^>/.test(other));
    return [h("blockquote", {}, ...markdown(rows.slice(at, stop).map((other) => other.replace(/^> ?/, "")).join("\n"))), stop];
  }
  if (LIST_ROW.test(row)) return markdownList(rows, at);
  if (row.includes("|") && /^\s*\|?[\s:|-]+\|?\s*$/.test(rows[at + 1] || "") && (rows[at + 1] || "").includes("-")) {
    return markdownTable(rows, at);
  }
  const stop = until(rows, at, (other) => !other.trim() || /^(#{1,6}\s|>|```)/.test(other) || LIST_ROW.test(other));
  const parts = rows.slice(at, stop).flatMap((other, index) => [...(index ? [h("br")] : []), ...markdownInline(other)]);
  return [h("p", {}, ...parts), stop];
}

function until(rows, at, ends) {
  let stop = at + 1;
  while (stop < rows.length && !ends(rows[stop])) stop += 1;
  return stop;
}

function markdownList(rows, at) {
  const [, indent, mark] = LIST_ROW.exec(rows[at]);
  const list = h(/\d/.test(mark) ? "ol" : "ul");
  let next = at;
  while (next < rows.length) {
    const match = LIST_ROW.exec(rows[next]);
    if (!match || match[1].length < indent.length) break;
    if (match[1].length === indent.length && /\d/.test(match[2]) !== /\d/.test(mark)) break;
    if (match[1].length > indent.length) {
      const [inner, after] = markdownList(rows, next);
      list.lastElementChild.append(inner);
      next = after;
      continue;
    }
    const task = /^\[([ xX])\]\s+(.*)$/.exec(match[3]);
    const body = task
      ? [h("input", { type: "checkbox", disabled: true, checked: task[1] !== " " }), " ", ...markdownInline(task[2])]
      : markdownInline(match[3]);
    list.append(h("li", { class: task ? "task-item" : "" }, ...body));
    next += 1;
  }
  return [list, next];
}

function markdownTable(rows, at) {
  const cells = (row) => row.trim().replace(/^\||\|$/g, "").split("|").map((cell) => cell.trim());
  const stop = until(rows, at + 1, (other) => !other.includes("|"));
  const head = h("tr", {}, ...cells(rows[at]).map((cell) => h("th", {}, ...markdownInline(cell))));
  const body = rows.slice(at + 2, stop).map((row) => h("tr", {}, ...cells(row).map((cell) => h("td", {}, ...markdownInline(cell)))));
  return [h("div", { class: "table-frame" }, h("table", {}, h("thead", {}, head), h("tbody", {}, ...body))), stop];
}

const MARKDOWN_SPANS = [
  [/`([^`\n]+)`/, (m) => h("code", {}, m[1])],
  [/\*\*(?=\S)(.+?)\*\*/, (m) => h("strong", {}, ...markdownInline(m[1]))],
  [/__(?=\S)(.+?)__/, (m) => h("strong", {}, ...markdownInline(m[1]))],
  [/~~(?=\S)(.+?)~~/, (m) => h("s", {}, ...markdownInline(m[1]))],
  [/(?<![*\w])\*(?=\S)([^*\n]+?)\*(?![*\w])/, (m) => h("em", {}, ...markdownInline(m[1]))],
  [/(?<![_\w])_(?=\S)([^_\n]+?)_(?![_\w])/, (m) => h("em", {}, ...markdownInline(m[1]))],
  [/!?\[([^\]\n]+)\]\(([^)\s]+)\)/, (m) => link(m[2], ...markdownInline(m[1]))],
];

function markdownInline(text) {
  const best = MARKDOWN_SPANS.map(([pattern, build]) => ({ build, match: pattern.exec(text) }))
    .filter(({ match }) => match)
    .sort((a, b) => a.match.index - b.match.index)[0];
  if (!best) return tokens(text);
  const { build, match } = best;
  return [...tokens(text.slice(0, match.index)), build(match), ...markdownInline(text.slice(match.index + match[0].length))];
}
