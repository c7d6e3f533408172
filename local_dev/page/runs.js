// The live rows: each follows its workflow until it has ended.

const UNFINISHED = new Set(["ENQUEUED", "DELAYED", "PENDING"]);
/** Milliseconds until a server that is away is asked again. */
export const AWAY = 2000;

/** Milliseconds; the functions promise an answer within five seconds. */
export const PATIENCE = 7000;

/** Add a row on top of `list` and keep it up to date; `server(away)` hears how the server is. */
export function follow(list, { workflow, url }, server) {
  const row = document.getElementById("run").content.firstElementChild.cloneNode(true);
  row.querySelector(".workflow").textContent = workflow;
  list.prepend(row);
  poll(row, url, server);
}

async function poll(row, url, server) {
  for (;;) {
    const { pause, away } = await look(row, url);
    server(away);
    if (pause === undefined) return;
    await new Promise((resume) => setTimeout(resume, pause));
  }
}

/** Ask once; returns for how many milliseconds to pause, or no pause when there is no more to see. */
async function look(row, url) {
  let response;
  try {
    response = await fetch(url, { signal: AbortSignal.timeout(PATIENCE) });
  } catch {
    return { pause: AWAY, away: "The server is away. Trying again." };
  }
  const pause = Number(response.headers.get("Retry-After")) * 1000 || undefined;
  const body = await response.json().catch(() => ({}));
  if (response.ok) {
    render(row, body);
    return { pause: UNFINISHED.has(body.status) ? (pause ?? 1000) : undefined };
  }
  if (response.status >= 500) return { pause: pause ?? AWAY, away: body.detail ?? "The server fails." };
  text(row, ".error", body.detail ?? `The server answers ${response.status}.`);
  return {};
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
  const measured = typeof done === "number" && typeof total === "number";
  bar.hidden = !measured && status !== "PENDING";
  if (measured) Object.assign(bar, { value: done, max: total });
  else bar.removeAttribute("value");
  bar.setAttribute("aria-label", measured ? `${done} of ${total}` : "running");
  const said = message ?? (progress == null || measured ? "" : shown(progress));
  text(row, ".message", said);
}

function survived({ attempts, status }) {
  const again = UNFINISHED.has(status) ? "goes on" : "went on";
  return `Attempt ${attempts}: its worker was lost, it ${again} from its last step.`;
}

function times({ created_at, started_at, completed_at }) {
  const at = (time) => new Date(time).toLocaleTimeString();
  const parts = [`launched ${at(created_at)}`];
  if (started_at) parts.push(`started ${at(started_at)}`);
  if (completed_at) {
    const seconds = (new Date(completed_at) - new Date(created_at)) / 1000;
    parts.push(`ended ${at(completed_at)}`, `${seconds.toFixed(seconds < 10 ? 2 : 0)} s in all`);
  }
  return parts.join(" · ");
}

function shown(value) {
  return typeof value === "string" ? value : JSON.stringify(value, null, 2);
}

function text(row, selector, content) {
  const target = row.querySelector(selector);
  target.hidden = content === undefined;
  // A live region is read out again whenever it is written, also with the same text.
  if (content !== undefined && target.textContent !== content) target.textContent = content;
}
