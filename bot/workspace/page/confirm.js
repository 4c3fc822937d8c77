// Asks before something happens that can't be undone lightly.

import { h } from "/page/dom.js";
import { textObject } from "/page/mrkdwn.js";

/** Asks with a confirm object; resolves to whether the person confirmed. */
export function ask(confirm) {
  return new Promise((resolve) => {
    const dialog = h(
      "dialog",
      { class: "dialog confirm", "aria-label": confirm.title.text },
      h("h2", {}, ...textObject(confirm.title)),
      h("div", { class: "text" }, ...textObject(confirm.text)),
      h(
        "div",
        { class: "dialog-buttons" },
        h("button", { type: "button", class: "button", onclick: () => dialog.close("no") }, ...textObject(confirm.deny)),
        h("button", { type: "button", class: `button ${confirm.style || "primary"}`, onclick: () => dialog.close("yes") },
          ...textObject(confirm.confirm)),
      ),
    );
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
    document.getElementById("dialogs").append(dialog);
    dialog.showModal();
  });
}
