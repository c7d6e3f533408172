// The page: what can be launched, what runs, and whether server and worker are there.

import * as launch from "./launch.js";
import { setText } from "./row.js";
import * as runs from "./runs.js";
import { ask, PAUSE, sleep, visible } from "./server.js";
import * as worker from "./worker.js";

// The second click of a double click sends nothing, also if the first has been answered by then.
document.addEventListener("click", (event) => {
  if (event.detail > 1 && event.target.closest("form button")) event.preventDefault();
});

for (;;) {
  const trouble = await refresh();
  setText(document.getElementById("health"), trouble ?? "connected");
  document.getElementById("health").classList.toggle("away", trouble !== undefined);
  await sleep(PAUSE);
  await visible();
}

/** Read the catalog: a workflow may be added, the server may go away. Returns what is wrong. */
async function refresh() {
  try {
    const { body } = await ask("/local_dev");
    launch.offer(body.workflows);
    runs.offer(body.workflows);
    return worker.offer(body.worker_pid, body.worker_end);
  } catch (trouble) {
    return trouble.status ? trouble.message : "The server is away. Trying again.";
  }
}
