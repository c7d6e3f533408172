// A run as people see it.

import { unfinished } from "./follow.js";

const LONGEST = 10_000;

/** Show what is known of a run in its row. */
export function render(row, run) {
  row.className = run.status;
  text(row, ".workflow", run.workflow);
  text(row, ".status", run.status);
  text(row, ".id", run.workflow_id);
  renderProgress(row, run);
  text(row, ".result", "result" in run ? shown(run.result) : undefined);
  text(row, ".failure", run.error && told(run.error));
  text(row, ".attempts", run.attempts > 1 ? survived(run) : undefined);
  text(row, ".times", times(run));
}

/** An error in one line, and why the last attempt has failed of a step that was retried in vain. */
export function told({ name, message, cause }) {
  return `${name}: ${message}${cause ? `; the last time ${told(cause)}` : ""}`;
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
  const again = unfinished({ status }) ? "goes on" : "went on";
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

/** A moment where people are, without the date if it is today. */
export function clock(time) {
  const moment = new Date(time);
  const today = moment.toDateString() === new Date().toDateString();
  return today ? moment.toLocaleTimeString() : moment.toLocaleString();
}

/** Any JSON value as text. */
export function shown(value) {
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

export function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
