// Following runs: the newest over server-sent events, the others by asking again and again.

import { ask, hidden, PAUSE, sleep, visible } from "./server.js";

/** Over HTTP/1.1 a browser opens six connections to a server, for all of its windows. */
const STREAMS = 3;

/** Milliseconds until a stream that was refused is tried again. */
const REFUSED = 30_000;

export const UNFINISHED = ["ENQUEUED", "DELAYED", "PENDING"];

const followed = new Set();
let streaming = false;

if (typeof EventSource === "function" && navigator.locks) streamWhileVisible();

export function unfinished({ status }) {
  return UNFINISHED.includes(status);
}

/**
 * Follow a run, of which `status` and `created_at` are known. `tell` is called with "status" and
 * its status, "progress" and the progress, "stream" and {key, offset, value}, in the end with "end"
 * and why it cannot be followed any longer, if it has not ended. Returns a function that stops.
 */
export function follow(run, tell) {
  const follower = new Follower(run, tell);
  followed.add(follower);
  share();
  return () => follower.stop();
}

/** One window at a time has streams, and only while it can be seen. */
async function streamWhileVisible() {
  for (;;) {
    await visible();
    await navigator.locks.request("streams", async () => {
      if (document.hidden) return;
      streaming = true;
      share();
      await hidden();
      streaming = false;
      share();
    });
  }
}

/** Give the streams to the newest unfinished runs. */
function share() {
  const candidates = [...followed].filter((each) => streaming && each.streamable);
  candidates.sort((one, other) => (one.since < other.since ? 1 : -1));
  const chosen = new Set(candidates.slice(0, STREAMS));
  for (const each of followed) {
    if (chosen.has(each)) each.stream();
    else each.poll();
  }
}

class Follower {
  #url;
  #tell;
  #source;
  #polling;

  constructor(run, tell) {
    this.#url = run.links.status;
    this.#tell = tell;
    this.since = run.created_at;
    this.streamable = unfinished(run);
  }

  stop() {
    if (!followed.delete(this)) return;
    this.#rest();
    share();
  }

  stream() {
    if (this.#source) return;
    this.#rest();
    const source = new EventSource(this.#url);
    this.#source = source;
    for (const kind of ["status", "progress", "stream"]) {
      source.addEventListener(kind, ({ data }) => this.#tell(kind, JSON.parse(data)));
    }
    source.addEventListener("end", () => this.#end());
    source.addEventListener("error", () => {
      // Whatever else has happened, it comes back by itself.
      if (source.readyState === EventSource.CLOSED) this.#refused();
    });
  }

  #refused() {
    this.streamable = false;
    share();
    setTimeout(() => {
      this.streamable = true;
      share();
    }, REFUSED);
  }

  async poll() {
    if (this.#polling) return;
    this.#rest();
    const turn = {};
    this.#polling = turn;
    while (this.#polling === turn) {
      await visible();
      const seen = await this.#look();
      if (this.#polling === turn) await this.#report(seen);
    }
  }

  async #look() {
    try {
      return await ask(this.#url);
    } catch (trouble) {
      return { trouble, pause: trouble.pause };
    }
  }

  /** Tell what was seen, and pause. */
  async #report({ body, trouble, pause }) {
    if (trouble?.status < 500) return this.#end(trouble.message);
    if (body) this.#tell("status", body);
    if (body && !unfinished(body)) return this.#end();
    return sleep(pause ?? PAUSE);
  }

  #end(reason) {
    this.stop();
    this.#tell("end", reason);
  }

  #rest() {
    this.#source?.close();
    this.#source = undefined;
    this.#polling = undefined;
  }
}
