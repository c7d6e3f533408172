// The steps of a run as a timeline, as long as people look at it.

import { unfinished } from "./follow.js";
import { same, setText, told } from "./row.js";
import { ask, PAUSE, sleep, visible } from "./server.js";

export class Steps {
  #details;
  #run;
  #looking = false;
  #shown;

  /** In `details`, once it is opened; `run` returns the newest state of the run. */
  constructor(details, run) {
    this.#details = details;
    this.#run = run;
    details.addEventListener("toggle", () => this.look());
  }

  /** Keep up with the steps while the details are open and the run goes on. */
  async look() {
    if (this.#looking) return;
    this.#looking = true;
    while (this.#details.open && this.#details.isConnected) {
      await visible();
      const run = this.#run();
      await this.#read(run);
      if (!unfinished(run) && !unfinished(this.#run())) break;
      await sleep(PAUSE);
    }
    this.#looking = false;
  }

  async #read(run) {
    const note = this.#details.querySelector(".no-steps");
    try {
      const { body } = await ask(`/steps/${encodeURIComponent(run.workflow_id)}`);
      this.#show(body.steps, run);
      const none = unfinished(run) ? "No step has ended yet." : "No step was recorded.";
      setText(note, body.steps.length ? "" : none);
    } catch (trouble) {
      setText(note, trouble.message);
    }
  }

  #show(steps, run) {
    const now = [steps, run.completed_at];
    if (same(now, this.#shown)) return; // People may have selected something in it.
    this.#shown = now;
    this.#details.querySelector(".steps").replaceChildren(...timeline(steps, run));
  }
}

/** One item per step, on a scale from the first thing that happened to the last, or to now. */
function timeline(steps, run) {
  const began = [run.started_at, ...steps.map((step) => step.started_at)].filter(Boolean);
  const ended = [run.completed_at ?? Date.now(), ...steps.map((step) => step.completed_at)];
  const [from, to] = [Math.min(...began.map(at)), Math.max(...ended.filter(Boolean).map(at))];
  return steps.map((step) => item(step, run.workflow_id, from, Math.max(to - from, 1)));
}

function item(step, parent, from, length) {
  const made = document.getElementById("step").content.firstElementChild.cloneNode(true);
  made.classList.toggle("internal", step.name.startsWith("DBOS."));
  made.classList.toggle("failed", step.error !== null);
  made.querySelector(".name").textContent = step.name;
  if (step.started_at && step.completed_at) {
    const [start, lasted] = [at(step.started_at) - from, at(step.completed_at) - at(step.started_at)];
    made.querySelector(".duration").textContent = `${(lasted / 1000).toFixed(2)} s`;
    const bar = made.querySelector("rect");
    bar.setAttribute("x", `${(100 * start) / length}%`);
    bar.setAttribute("width", `${(100 * lasted) / length}%`);
  }
  if (step.error) made.querySelector(".failure").textContent = told(step.error);
  if (step.child_workflow_id) showChild(made.querySelector(".child"), step.child_workflow_id, parent);
  return made;
}

/** A child's own id begins with its parent's. */
function showChild(link, child, parent) {
  link.textContent = child.startsWith(parent) ? `…${child.slice(parent.length)}` : child;
  link.title = `Status of the child workflow ${child}`;
  link.href = `/status/${encodeURIComponent(child)}`;
}

function at(time) {
  return new Date(time).getTime();
}
