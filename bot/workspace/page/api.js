// Talks to /control.

export class Refused extends Error {}

async function answerOf(response) {
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Refused(body.message || `The workspace answered ${response.status}.`);
  return body;
}

export async function get(path) {
  return answerOf(await fetch(path));
}

export async function post(path, body = {}) {
  return answerOf(
    await fetch(path, { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body) }),
  );
}
