// Why a run does not move, asked once it has not moved for a while.

import { unfinished } from "./follow.js";
import { clock, setText } from "./row.js";
import { ask, sleep, visible } from "./server.js";

/** Milliseconds. */
const UNMOVED = 3000;

const TIME = /\d{4}-\d\d-\d\dT[\d:.]+Z/g;

export class Explanation {
  #place;
  #url;
  #wait;

  constructor(place, workflowId) {
    this.#place = place;
    this.#url = `/explain/${encodeURIComponent(workflowId)}`;
  }

  /** Hide it until the run has not moved for a while. */
  async moved() {
    this.rest();
    const wait = {};
    this.#wait = wait;
    while (this.#wait === wait) {
      await sleep(UNMOVED);
      await visible();
      if (this.#wait === wait) await this.#look(wait);
    }
  }

  /** Hide it for good. */
  rest() {
    this.#wait = undefined;
    this.#place.hidden = true;
  }

  async #look(wait) {
    const { body } = await ask(this.#url).catch(() => ({}));
    // What has ended meanwhile is about to be shown as ended.
    if (this.#wait !== wait || !body || !unfinished(body)) return;
    setText(this.#place, body.explanation.replace(TIME, clock));
    this.#place.hidden = false;
  }
}
