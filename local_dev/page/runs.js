// The runs on the page: what the server lists, filtered, page by page, newest first.

import { UNFINISHED } from "./follow.js";
import { same, setText } from "./row.js";
import { Run } from "./run.js";
import { ask, PAUSE, sleep, visible } from "./server.js";

const byId = (id) => document.getElementById(id);
const list = byId("runs");
const filters = { workflow: byId("of-workflow"), status: byId("in-status") };
const shown = new Map();
let catalog = [];
let [cursor, older] = [null, null];
let asking = new AbortController();
let sought = null;

const asked = new URLSearchParams(location.search);
offerWorkflows(asked.get("workflow") ?? "");
filters.status.value = asked.get("status") ?? "";
if (filters.status.selectedIndex < 0) filters.status.value = "";
for (const select of Object.values(filters)) select.addEventListener("change", filter);
byId("older").addEventListener("click", () => turnTo(older));
byId("newest").addEventListener("click", () => turnTo(null));
keepUp();

/** Tell which workflows can be launched now. */
export function offer(workflows) {
  if (same(workflows, catalog)) return;
  const first = catalog.length === 0;
  catalog = workflows;
  offerWorkflows(filters.workflow.value);
  for (const run of shown.values()) run.offer(signals(run));
  if (first) refresh();
}

/** Show a run that was launched just now, even if the filters would hide it, now or at its end. */
export async function launched({ workflow, workflow_id }) {
  if (filters.workflow.value !== workflow) filters.workflow.value = "";
  filters.status.value = "";
  sought = workflow_id;
  await filter();
}

async function keepUp() {
  for (;;) {
    await sleep(PAUSE);
    await visible();
    await refresh();
  }
}

/** Read what is listed now; only the answer to the newest question counts. */
async function refresh() {
  if (!catalog.length) return;
  asking.abort();
  const { signal } = (asking = new AbortController());
  try {
    const { body } = await ask(address(), { signal });
    if (!signal.aborted) show(body);
  } catch (trouble) {
    // That the server is away is said on top of the page.
    if (trouble.status) setText(byId("unlisted"), trouble.message);
  }
}

function address() {
  const [workflow, status] = [filters.workflow.value, filters.status.value];
  const names = workflow ? [workflow] : catalog.map(({ name }) => name);
  const statuses = status === "unfinished" ? UNFINISHED : [status].filter(Boolean);
  return `/list?${new URLSearchParams([
    ...names.map((name) => ["workflow", name]),
    ...statuses.map((name) => ["status", name]),
    ...(cursor ? [["cursor", cursor]] : []),
  ])}`;
}

function show({ workflows, next_cursor }) {
  older = next_cursor;
  byId("older").hidden = !older;
  byId("newest").hidden = !cursor;
  setText(byId("unlisted"), "");
  setText(byId("none"), workflows.length ? "" : "No runs here yet.");
  const listed = new Map(workflows.map((state) => [state.workflow_id, state]));
  for (const id of shown.keys()) if (!listed.has(id)) remove(id);
  let place = list.firstElementChild;
  for (const state of listed.values()) {
    const { element } = row(state);
    if (element === place) place = place.nextElementSibling;
    else list.insertBefore(element, place);
  }
  if (listed.has(sought)) bringIntoView(shown.get(sought).element);
}

/** Scroll to the run that was launched, once: it may be listed by a later answer than its own. */
function bringIntoView(row) {
  sought = null;
  const { top, bottom } = row.getBoundingClientRect();
  // To the top, as it grows while it runs.
  if (top < 0 || bottom > innerHeight) row.scrollIntoView({ block: "start" });
}

/** The row of a run that is listed in `state`. */
function row(state) {
  const known = shown.get(state.workflow_id);
  known?.listed(state);
  if (known) return known;
  const run = new Run(state, ({ workflow, status }) => {
    byId("news").textContent = `${workflow}: ${status}`;
  });
  run.offer(signals(run));
  shown.set(state.workflow_id, run);
  return run;
}

function remove(id) {
  shown.get(id).remove();
  shown.delete(id);
}

function signals({ workflow }) {
  return catalog.find(({ name }) => name === workflow)?.signals;
}

function turnTo(page) {
  cursor = page;
  byId("runs-title").scrollIntoView({ block: "nearest" });
  return refresh();
}

/** List what the filters say, also after a reload. */
function filter() {
  const wanted = Object.entries(filters).map(([name, { value }]) => [name, value]);
  const query = String(new URLSearchParams(wanted.filter(([, value]) => value)));
  history.replaceState(null, "", query ? `?${query}` : location.pathname);
  return turnTo(null);
}

/** `wanted` stays a choice although the catalog may not have it (yet). */
function offerWorkflows(wanted) {
  const names = new Set(catalog.map(({ name }) => name));
  if (wanted) names.add(wanted);
  const options = [...names].sort().map((name) => new Option(name, name));
  filters.workflow.replaceChildren(new Option("all workflows", ""), ...options);
  filters.workflow.value = wanted;
}
