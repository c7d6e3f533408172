// The page: choose a workflow of the catalog, fill in its form, launch it, watch it.

import { fields, read, show } from "./form.js";
import { AWAY, follow, PATIENCE } from "./runs.js";

const REFRESH = 5000;
const KEPT = 20;

const byId = (id) => document.getElementById(id);
const form = byId("launch");
const select = byId("workflow");
const button = form.querySelector("button");
let workflows = [];

form.addEventListener("submit", (event) => {
  event.preventDefault();
  launch();
});
select.addEventListener("change", showForm);

for (const run of remembered()) addRun(run);
refresh();

/** Read the catalog again and again: a workflow may be added, the server may go away. */
async function refresh() {
  let away;
  try {
    const response = await fetch("/local_dev", { signal: AbortSignal.timeout(PATIENCE) });
    const body = await response.json();
    if (response.ok) showCatalog(body);
    else away = body.detail;
  } catch {
    away = "The server is away. Trying again.";
  }
  showHealth(away);
  setTimeout(refresh, away ? AWAY : REFRESH);
}

function showHealth(away) {
  const health = byId("health");
  const message = away ?? "connected";
  health.classList.toggle("away", away !== undefined);
  if (health.textContent !== message) health.textContent = message;
}

function showCatalog(catalog) {
  byId("try").hidden = catalog.worker_pid === null;
  byId("kill").textContent = `kill -9 ${catalog.worker_pid}`;
  if (JSON.stringify(workflows) === JSON.stringify(catalog.workflows)) return;
  const before = select.value;
  workflows = catalog.workflows;
  select.replaceChildren(...workflows.map(({ name }) => new Option(name)));
  if (workflows.some(({ name }) => name === before)) select.value = before;
  select.disabled = button.disabled = false;
  showForm();
}

function showForm() {
  const workflow = workflows.find(({ name }) => name === select.value);
  byId("description").textContent = workflow.description;
  byId("arguments").replaceChildren(...fields(workflow.arguments));
  byId("problem").textContent = "";
}

async function launch() {
  button.disabled = true;
  try {
    const response = await fetch(`/launch/${encodeURIComponent(select.value)}`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify(read(form)),
      signal: AbortSignal.timeout(PATIENCE),
    });
    const body = await response.json();
    showErrors(response.ok ? [] : (body.errors ?? [{ pointer: "", message: body.detail }]));
    if (response.ok) launched({ workflow: body.workflow, url: response.headers.get("Location") });
  } catch (error) {
    const refused = error.pointer !== undefined;
    showErrors([refused ? error : { pointer: "", message: "The server is away. Not launched." }]);
  } finally {
    button.disabled = false;
  }
}

function showErrors(errors) {
  byId("problem").textContent = show(form, errors)
    .map(({ message }) => message)
    .join("; ");
}

function launched(run) {
  localStorage.setItem("runs", JSON.stringify([...remembered(), run].slice(-KEPT)));
  addRun(run);
}

function addRun(run) {
  byId("none").hidden = true;
  follow(byId("runs"), run, showHealth);
}

function remembered() {
  return JSON.parse(localStorage.getItem("runs") ?? "[]");
}
