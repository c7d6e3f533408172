// The live rows: each follows its workflow until it has ended.

const UNFINISHED = new Set(["ENQUEUED", "DELAYED", "PENDING"]);
const LONGEST = 10_000;

/** Milliseconds between two looks, where the server does not say. */
export const PAUSE = 2000;

/** Milliseconds; the functions promise an answer within five seconds. */
export const PATIENCE = 7000;

/** Add a row on top of `list` and keep it up to date; `ended` is told how the workflow has ended. */
export function follow(list, { workflow, url }, ended) {
  const row = document.getElementById("run").content.firstElementChild.cloneNode(true);
  row.querySelector(".workflow").textContent = workflow;
  list.prepend(row);
  poll(row, url, ended);
  return row;
}

async function poll(row, url, ended) {
  for (;;) {
    const pause = await look(row, url, ended);
    if (pause === undefined) return;
    await new Promise((resume) => setTimeout(resume, pause));
  }
}

/** Ask once; returns for how many milliseconds to pause, or nothing when there is no more to see. */
async function look(row, url, ended) {
  let response, body;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE) });
    body = await response.json();
  } catch {
    return PAUSE;
  }
  const pause = Number(response.headers.get("Retry-After")) * 1000;
  if (response.status >= 500) return pause || PAUSE;
  if (!response.ok) {
    text(row, ".error", body.detail);
    return undefined;
  }
  render(row, body);
  if (UNFINISHED.has(body.status)) return pause || PAUSE;
  ended(body);
  return undefined;
}

function render(row, run) {
  row.className = run.status;
  text(row, ".workflow", run.workflow);
  text(row, ".status", run.status);
  text(row, ".id", run.workflow_id);
  renderProgress(row, run);
  text(row, ".result", "result" in run ? shown(run.result) : undefined);
  text(row, ".error", run.error && `${run.error.name}: ${run.error.message}`);
  text(row, ".attempts", run.attempts > 1 ? survived(run) : undefined);
  text(row, ".times", times(run));
}

function renderProgress(row, { progress, status }) {
  const bar = row.querySelector("progress");
  const { done, total, message } = progress ?? {};
  const measured = typeof done === "number" && typeof total === "number" && total > 0;
  bar.hidden = !measured && status !== "PENDING";
  if (measured) Object.assign(bar, { value: done, max: total });
  else bar.removeAttribute("value");
  bar.setAttribute("aria-label", measured ? `${done} of ${total}` : "running");
  text(row, ".message", shown(message ?? (measured ? "" : (progress ?? ""))));
}

function survived({ attempts, status }) {
  const again = UNFINISHED.has(status) ? "goes on" : "went on";
  return `Attempt ${attempts}: its worker stopped, it ${again} from its last step.`;
}

function times({ created_at, started_at, completed_at }) {
  const parts = [`launched ${clock(created_at)}`];
  if (started_at) parts.push(`started ${clock(started_at)}`);
  if (completed_at) {
    const seconds = (new Date(completed_at) - new Date(created_at)) / 1000;
    parts.push(`ended ${clock(completed_at)}`, `${seconds.toFixed(seconds < 10 ? 2 : 0)} s in all`);
  }
  return parts.join(" · ");
}

function clock(time) {
  const moment = new Date(time);
  const today = moment.toDateString() === new Date().toDateString();
  return today ? moment.toLocaleTimeString() : moment.toLocaleString();
}

function shown(value) {
  const all = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  return all.length > LONGEST ? `${all.slice(0, LONGEST)} …` : all;
}

function text(row, selector, content) {
  const target = row.querySelector(selector);
  target.hidden = content === undefined;
  if (content !== undefined) setText(target, content);
}

/** Write only what is new: a live region is read out, and a selection lost, at every write. */
export function setText(target, content) {
  if (target.textContent !== content) target.textContent = content;
}
