// The page: choose a workflow of the catalog, fill in its form, launch it, watch it.

import { fields, read, restore, show, touched } from "./form.js";
import { follow, PATIENCE, PAUSE, setText } from "./runs.js";

const KEPT = 20;

const byId = (id) => document.getElementById(id);
const form = byId("launch");
const select = byId("workflow");
let workflows = [];

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (form.ariaBusy !== "true") launch();
});
select.addEventListener("change", showForm);

for (const run of remembered()) addRun(run);
refresh();

/** Read the catalog again and again: a workflow may be added, the server may go away. */
async function refresh() {
  const catalog = await readCatalog();
  if (catalog.workflows) showCatalog(catalog);
  setText(byId("health"), catalog.trouble ?? "connected");
  byId("health").classList.toggle("away", catalog.trouble !== undefined);
  setTimeout(refresh, PAUSE);
}

/** The catalog; `trouble` says what keeps workflows from being launched or executed. */
async function readCatalog() {
  try {
    const response = await fetch("/local_dev", { signal: AbortSignal.timeout(PATIENCE) });
    const body = await response.json();
    if (!response.ok) return { trouble: body.detail };
    const idle = "The worker is not running; the terminal says why.";
    return body.worker_pid === null ? { ...body, trouble: idle } : body;
  } catch {
    return { trouble: "The server is away. Trying again." };
  }
}

function showCatalog({ workflows: newest, worker_pid }) {
  byId("try").hidden = worker_pid === null;
  setText(byId("kill"), `kill -9 ${worker_pid}`);
  if (same(workflows, newest)) return;
  const [first, chosen] = [workflows.length === 0, select.value];
  const [before, now] = [named(workflows, chosen), named(newest, chosen)];
  workflows = newest;
  select.replaceChildren(...workflows.map(({ name }) => new Option(name)));
  if (now) select.value = chosen;
  else if (!first) select.prepend(new Option("", "", true, true));
  if (!same(before, now) || first) rebuildForm();
  if (before && !now) setText(byId("problem"), `There is no ${chosen} any longer.`);
}

/** Make the form again without losing what people have typed, or where they are. */
function rebuildForm() {
  const [values, focused] = [touched(form), document.activeElement?.id];
  showForm();
  restore(form, values);
  if (focused) byId(focused)?.focus();
}

function showForm() {
  const workflow = named(workflows, select.value);
  byId("description").textContent = workflow?.description ?? "";
  byId("arguments").replaceChildren(...fields(workflow?.arguments ?? {}));
  byId("problem").textContent = "";
}

async function launch() {
  form.ariaBusy = "true";
  try {
    showErrors(await tryToLaunch());
  } finally {
    form.ariaBusy = "false";
  }
}

/** Launch what is in the form; returns what is wrong with it, as a list of {pointer, message}. */
async function tryToLaunch() {
  if (!select.value) return [{ pointer: "", message: "Choose a workflow." }];
  let arguments_;
  try {
    arguments_ = read(form);
  } catch (problem) {
    return [problem];
  }
  let response, body;
  try {
    response = await fetch(`/launch/${encodeURIComponent(select.value)}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: arguments_,
      signal: AbortSignal.timeout(PATIENCE),
    });
    body = await response.json();
  } catch {
    return [{ pointer: "", message: "The server is away. This may not have been launched." }];
  }
  if (!response.ok) return body.errors ?? [{ pointer: "", message: body.detail }];
  launched({ workflow: body.workflow, url: response.headers.get("Location") });
  return [];
}

function showErrors(errors) {
  const others = show(form, errors).map(({ message }) => message);
  byId("problem").textContent = others.join("; ");
}

function launched(run) {
  localStorage.setItem("runs", JSON.stringify([...remembered(), run].slice(-KEPT)));
  addRun(run).scrollIntoView({ block: "nearest" });
  byId("news").textContent = `${run.workflow} launched`;
}

function addRun(run) {
  byId("none").hidden = true;
  return follow(byId("runs"), run, ({ workflow, status }) => {
    byId("news").textContent = `${workflow}: ${status}`;
  });
}

function remembered() {
  try {
    const runs = JSON.parse(localStorage.getItem("runs"));
    return Array.isArray(runs) ? runs : [];
  } catch {
    return [];
  }
}

function named(all, wanted) {
  return all.find(({ name }) => name === wanted);
}

function same(one, other) {
  return JSON.stringify(one) === JSON.stringify(other);
}
