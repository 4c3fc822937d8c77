// Dates in the acting person's time zone.

import { zone } from "/page/store.js";

const DAY = 86_400;

function format(date, options) {
  return new Intl.DateTimeFormat("en-GB", { timeZone: zone(), ...options }).format(date);
}

export function fromTs(ts) {
  return new Date(Number(ts) * 1000);
}

/** What a clock on the acting person's wall shows at a moment (in seconds), as a field takes it: 2026-03-03T09:00. */
export function wallTime(seconds) {
  // Swedes write dates as ISO does.
  const format = new Intl.DateTimeFormat("sv-SE", { timeZone: zone(), dateStyle: "short", timeStyle: "short" });
  return format.format(new Date(seconds * 1000)).replace(" ", "T");
}

/**
 * When that clock shows this, in seconds. Where it is put back, so that a time comes twice, the first of both; where it
 * is put forward and leaves a time out, when it would have come.
 */
export function fromWallTime(text) {
  const inSeconds = (wall) => Math.floor(Date.parse(`${wall}Z`) / 1000);
  const shown = inSeconds(text);
  const candidates = [-DAY, DAY].map((away) => shown - (inSeconds(wallTime(shown + away)) - shown - away));
  return candidates.find((at) => inSeconds(wallTime(at)) === shown) ?? candidates[0];
}

export function clockTime(date) {
  return format(date, { hour: "2-digit", minute: "2-digit" });
}

export function dayOf(date) {
  return format(date, { weekday: "long", day: "numeric", month: "long" });
}

export function full(date) {
  return format(date, { dateStyle: "full", timeStyle: "long" });
}

function near(date) {
  const day = (value) => format(value, { dateStyle: "short" });
  const distance = { 0: "today", "-1": "yesterday", 1: "tomorrow" };
  for (const [days, name] of Object.entries(distance)) {
    if (day(new Date(Date.now() + Number(days) * 86_400_000)) === day(date)) return name;
  }
  return null;
}

export function ago(date) {
  const seconds = Math.round((date.getTime() - Date.now()) / 1000);
  const steps = [[60, "second"], [3600, "minute"], [86_400, "hour"], [Infinity, "day"]];
  const sizes = { second: 1, minute: 60, hour: 3600, day: 86_400 };
  const [, unit] = steps.find(([limit]) => Math.abs(seconds) < limit);
  return new Intl.RelativeTimeFormat("en", { numeric: "auto" }).format(Math.round(seconds / sizes[unit]), unit);
}

const TOKENS = {
  date_num: (d) => format(d, { year: "numeric", month: "2-digit", day: "2-digit" }).split("/").reverse().join("-"),
  date_slash: (d) => format(d, { year: "numeric", month: "2-digit", day: "2-digit" }),
  date: (d) => format(d, { day: "numeric", month: "long", year: "numeric" }),
  date_short: (d) => format(d, { day: "numeric", month: "short", year: "numeric" }),
  date_long: (d) => format(d, { weekday: "long", day: "numeric", month: "long", year: "numeric" }),
  date_pretty: (d) => near(d) || TOKENS.date(d),
  date_short_pretty: (d) => near(d) || TOKENS.date_short(d),
  date_long_pretty: (d) => near(d) || TOKENS.date_long(d),
  day_divider_pretty: (d) => near(d) || dayOf(d),
  time: clockTime,
  time_secs: (d) => format(d, { hour: "2-digit", minute: "2-digit", second: "2-digit" }),
  ago,
};

/** A Slack date token's text: formatDate(1392734382, "{date_short} at {time}"). */
export function formatDate(timestamp, pattern) {
  const date = fromTs(timestamp);
  return pattern.replace(/\{(\w+)\}/g, (whole, name) => (TOKENS[name] ? TOKENS[name](date) : whole));
}
