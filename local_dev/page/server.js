// Talking to the server: an answer in time, or Trouble that says why not.

/** Milliseconds between two looks, where the server does not say. */
export const PAUSE = 2000;

/** Milliseconds; the functions promise an answer within five seconds. */
const PATIENCE = 7000;

const AGAIN = "You can safely try again: it is done only once.";

/** Why something was not done; `status` is undefined if the server did not answer. */
export class Trouble extends Error {
  constructor(message, { status, errors, pause } = {}) {
    super(message);
    Object.assign(this, { status, errors: errors ?? [{ pointer: "", message }], pause });
  }
}

/** The JSON `body` of the answer, and the `pause` in milliseconds that it asks for; or Trouble. */
export async function ask(url, { signal, ...options } = {}) {
  let response, body;
  try {
    const patience = AbortSignal.timeout(PATIENCE);
    const limit = signal ? AbortSignal.any([signal, patience]) : patience;
    response = await fetch(url, { signal: limit, ...options });
    body = await response.json();
  } catch {
    throw new Trouble("The server is away.");
  }
  const pause = Number(response.headers.get("Retry-After")) * 1000 || undefined;
  if (response.ok) return { body, pause };
  throw new Trouble(body.detail, { status: response.status, errors: body.errors, pause });
}

/** Post `text`, which is JSON. */
export function post(url, text, headers = {}) {
  const type = { "Content-Type": "application/json" };
  return ask(url, { method: "POST", headers: { ...type, ...headers }, body: text });
}

/** A `post` that may be repeated until it is answered: the server does the same thing only once. */
export function repeatable() {
  let last = {};
  return async (url, text) => {
    if (last.url !== url || last.text !== text) last = { url, text, key: crypto.randomUUID() };
    try {
      const answer = await post(url, text, { "Idempotency-Key": last.key });
      last = {};
      return answer;
    } catch (trouble) {
      if (!trouble.status) throw new Trouble(`${trouble.message} ${AGAIN}`);
      last = {};
      throw trouble;
    }
  };
}

export function sleep(milliseconds) {
  return new Promise((resume) => setTimeout(resume, milliseconds));
}

/** Wait until people can see the page. */
export function visible() {
  return until(() => !document.hidden);
}

/** Wait until people cannot see the page any longer. */
export function hidden() {
  return until(() => document.hidden);
}

async function until(condition) {
  while (!condition()) {
    await new Promise((resume) => {
      document.addEventListener("visibilitychange", resume, { once: true });
    });
  }
}
