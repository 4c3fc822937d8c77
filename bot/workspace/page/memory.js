// What this tab remembers across a reload (or, of how it looks, this browser).

const PREFIX = "workspace.";

/** The value kept under `name`, or `otherwise`. */
export function kept(name, otherwise, storage = sessionStorage) {
  try {
    return JSON.parse(storage.getItem(PREFIX + name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

export function keep(name, value, storage = sessionStorage) {
  storage.setItem(PREFIX + name, JSON.stringify(value));
}
