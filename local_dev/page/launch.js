// The form that launches: choose a workflow of the catalog, fill in its arguments.

import { fields, read, restore, show, touched } from "./form.js";
import { same, setText } from "./row.js";
import { launched } from "./runs.js";
import { repeatable } from "./server.js";

const byId = (id) => document.getElementById(id);
const form = byId("launch");
const select = byId("workflow");
const partition = byId("partition");
const send = repeatable();
let workflows = [];

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (form.ariaBusy !== "true") launch();
});
select.addEventListener("change", showForm);

/** Offer the workflows of the catalog; what people are at is left alone. */
export function offer(newest) {
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
  byId("description").textContent = unwrapped(workflow?.description ?? "");
  byId("arguments").replaceChildren(...fields(workflow?.arguments ?? {}));
  partition.hidden = !workflow?.partitioned;
  byId("problem").textContent = "";
}

async function launch() {
  form.ariaBusy = "true";
  try {
    const others = show(form, await tryToLaunch()).map(({ message }) => message);
    byId("problem").textContent = others.join("; ");
  } finally {
    form.ariaBusy = "false";
  }
}

/** Launch what is in the form; returns what is wrong with it, as a list of {pointer, message}. */
async function tryToLaunch() {
  if (!select.value) return [{ pointer: "", message: "Choose a workflow." }];
  try {
    const { body } = await send(address(), read(form));
    byId("news").textContent = `${body.workflow} launched`;
    await launched(body);
    return [];
  } catch (problem) {
    return problem.errors ?? [problem];
  }
}

/** Where to launch what is chosen; without a key the server says that it wants one. */
function address() {
  const key = partition.hidden ? "" : byId("partition-key").value;
  const query = key && `?${new URLSearchParams({ partition_key: key })}`;
  return `/launch/${encodeURIComponent(select.value)}${query}`;
}

function named(all, wanted) {
  return all.find(({ name }) => name === wanted);
}

/** A docstring's paragraphs, without the ends of its lines. */
function unwrapped(text) {
  return text.replace(/(\S)\n(?=\S)/g, "$1 ");
}
