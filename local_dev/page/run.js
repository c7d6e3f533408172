// One run on the page: it is followed until it has ended, and can be told what to do.

import { Explanation } from "./explanation.js";
import { follow, unfinished } from "./follow.js";
import { Lines } from "./lines.js";
import { render, same, setText } from "./row.js";
import { anySignalForm, signalForm } from "./signals.js";
import { post } from "./server.js";
import { Steps } from "./steps.js";

const RESUMABLE = new Set(["CANCELLED", "MAX_RECOVERY_ATTEMPTS_EXCEEDED"]);

export class Run {
  #state;
  #ended;
  #stop;
  #signals;
  #explanation;
  #lines;
  #steps;

  /** `state` is what the server lists; `ended` is told how the run has ended. */
  constructor(state, ended) {
    this.element = document.getElementById("run").content.firstElementChild.cloneNode(true);
    this.#ended = ended;
    this.#explanation = new Explanation(this.#part(".explanation"), state.workflow_id);
    this.#lines = new Lines(this.#part(".lines"));
    this.#steps = new Steps(this.#part("details"), () => this.#state);
    this.#button(".cancel", "Cancel", state);
    this.#button(".resume", "Resume", state);
    this.#part("details").append(anySignalForm(state.workflow_id));
    this.#show(state);
    this.#follow(state);
  }

  /** Follow it again if it has changed since it has ended. */
  listed(state) {
    if (!this.#stop && state.updated_at > this.#state.updated_at) this.#follow(state);
  }

  /** Offer a form for each of `signals`, JSON Schemas by topic. */
  offer(signals = {}) {
    if (same(signals, this.#signals)) return;
    this.#signals = signals;
    const forms = Object.entries(signals).map(([topic, schema]) =>
      signalForm(this.#state.workflow_id, topic, schema),
    );
    this.#part(".signals").replaceChildren(...forms);
    this.#showControls();
  }

  get workflow() {
    return this.#state.workflow;
  }

  remove() {
    this.#stop?.();
    this.#explanation.rest();
    this.element.remove();
  }

  #part(selector) {
    return this.element.querySelector(selector);
  }

  #follow(state) {
    this.#stop?.();
    this.#stop = follow(state, (kind, value) => this.#told(kind, value));
  }

  #told(kind, value) {
    if (kind === "status") this.#show(value);
    if (kind === "progress") this.#show({ ...this.#state, progress: value });
    if (kind === "stream") this.#lines.add(value);
    if (kind === "stream" && unfinished(this.#state)) this.#explanation.moved();
    if (kind === "end") this.#stop = undefined;
    if (kind === "end" && value) setText(this.#part(".refusal"), value);
  }

  #show(state) {
    if (same(state, this.#state)) return;
    const before = this.#state;
    this.#state = state;
    render(this.element, state);
    this.#showControls();
    this.#steps.look();
    if (unfinished(state)) this.#explanation.moved();
    else this.#explanation.rest();
    if (before && unfinished(before) && !unfinished(state)) this.#ended(state);
  }

  #showControls() {
    const going = unfinished(this.#state);
    this.#part(".cancel").hidden = !going;
    this.#part(".resume").hidden = !RESUMABLE.has(this.#state.status);
    this.#part(".signals").hidden = !going;
    const declared = Object.keys(this.#signals ?? {}).length > 0;
    this.#part("details > form").hidden = !going || declared;
  }

  #button(selector, name, { workflow, workflow_id }) {
    const button = this.#part(selector);
    button.ariaLabel = `${name} ${workflow}`;
    button.addEventListener("click", () => this.#order(button, name.toLowerCase(), workflow_id));
  }

  /** Have it cancelled or resumed. */
  async #order(button, order, workflowId) {
    button.disabled = true;
    setText(this.#part(".refusal"), "");
    try {
      const { body } = await post(`/${order}/${encodeURIComponent(workflowId)}`);
      if (!this.#stop) this.#follow({ ...this.#state, status: body.status });
    } catch (trouble) {
      setText(this.#part(".refusal"), trouble.message);
    } finally {
      button.disabled = false;
    }
  }
}
