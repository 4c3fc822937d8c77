// Where blocks stand: what is typed there is kept, what is pressed there is told to the app.

import { post } from "/page/api.js";
import { attempt } from "/page/notices.js";
import { state } from "/page/store.js";

const drafts = new Map();

function surface(name, place) {
  const values = () => drafts.get(name) || {};
  return {
    name,
    errors: {},
    values,
    set(block, element, value) {
      const inBlock = values()[block.block_id];
      drafts.set(name, { ...values(), [block.block_id]: { ...inBlock, [element.action_id]: value } });
    },
    use: (block, element, value) => attempt(() => post("/control/click", {
      ...place, action_id: element.action_id, block_id: block.block_id, user: state.acting, value: value ?? null, values: values(),
    })),
    async suggest(element, typed) {
      const found = await attempt(() => post("/control/suggest", { ...place, action_id: element.action_id, user: state.acting, typed }));
      return found?.options || [];
    },
  };
}

export function viewSurface(view) {
  return surface(view.id, { view_id: view.id });
}

export function messageSurface(message) {
  return surface(`${message.channel}-${message.ts}`, { channel: message.channel, ts: message.ts });
}

/** Forgets what was typed into a view that is gone. */
export function forget(viewId) {
  drafts.delete(viewId);
}
