// Light, dark, or as the system has it.

import { h, icon } from "/page/dom.js";
import { keep, kept } from "/page/memory.js";
import { changed } from "/page/store.js";

const THEMES = [["", "As the system", "screen"], ["light", "Light", "sun"], ["dark", "Dark", "moon"]];

function choose(theme) {
  keep("theme", theme, localStorage);
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
  changed("theme");
}

export function themeSwitch() {
  const chosen = kept("theme", "", localStorage);
  return h("div", { class: "themes", role: "group", "aria-label": "Colours" }, THEMES.map(([theme, title, mark]) =>
    h("button", {
      type: "button", class: "quiet", title, "aria-label": title, "aria-pressed": String(theme === chosen),
      dataset: { key: `theme ${theme}` }, onclick: () => choose(theme),
    }, icon(mark))));
}
