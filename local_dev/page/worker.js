// The worker: whether it runs, and the button that kills it.

import { setText } from "./row.js";
import { post } from "./server.js";

const NOT_RUNNING = "The worker is not running; the terminal says why.";
const KILLED = "The worker was killed. It is started again.";

const byId = (id) => document.getElementById(id);
const button = byId("kill");
let running = null;
let killed = null;

button.addEventListener("click", kill);

/**
 * Tell the process id of the worker, and how the last one has ended, or null; returns what is wrong
 * with it, if anything.
 */
export function offer(pid, end) {
  running = pid;
  button.disabled = away();
  if (away()) return end ?? (killed === null ? NOT_RUNNING : KILLED);
  if (killed !== null) setText(byId("killed"), `Process ${pid} is started in its place.`);
  killed = null;
  return end ?? undefined;
}

function away() {
  return running === null || running === killed;
}

async function kill() {
  button.disabled = true;
  try {
    const { body } = await post("/local_dev/kill");
    killed = body.worker_pid;
    setText(byId("killed"), `Process ${killed} is dead. Watch what becomes of your runs.`);
  } catch (trouble) {
    setText(byId("killed"), trouble.message);
    button.disabled = away();
  }
}
