// Forms that send signals to a run.

import { fields, members, read, show } from "./form.js";
import { repeatable } from "./server.js";

const ANY = { topic: { type: "string" }, value: {} };

let made = 0;

/** A form for the signal `topic`, whose value has to fit `schema`. */
export function signalForm(workflowId, topic, schema) {
  const whole = schema.type === "object" && schema.properties;
  const { $defs } = schema;
  const shown = whole ? schema : { properties: { value: schema }, required: ["value"], $defs };
  return form(workflowId, `Send ${topic}`, shown, (form) => [
    topic,
    whole ? read(form) : members(form).get("value"),
  ]);
}

/** A form for any signal. */
export function anySignalForm(workflowId) {
  return form(workflowId, "Send a signal", { properties: ANY, required: Object.keys(ANY) }, (form) => {
    const typed = members(form);
    return [JSON.parse(typed.get("topic")), typed.get("value")];
  });
}

/** `message` returns topic and value, as JSON text, or throws {pointer, message}. */
function form(workflowId, title, schema, message) {
  const form = document.getElementById("signal").content.firstElementChild.cloneNode(true);
  const send = repeatable();
  form.querySelector("button").textContent = title;
  form.ariaLabel = title;
  form.querySelector(".fields").append(...fields(schema, `signal-${++made}`));
  form.addEventListener("input", () => say(form, "", []));
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    if (form.ariaBusy === "true") return;
    form.ariaBusy = "true";
    const errors = await tryToSend(send, workflowId, () => message(form));
    form.ariaBusy = "false";
    say(form, errors.length ? "" : "Sent.", errors);
  });
  return form;
}

/** Returns what is wrong with the message, as a list of {pointer, message}. */
async function tryToSend(send, workflowId, message) {
  try {
    const [topic, value] = message();
    await send(`/signal/${[workflowId, topic].map(encodeURIComponent).join("/")}`, value);
    return [];
  } catch (problem) {
    return problem.errors ?? [problem];
  }
}

function say(form, sent, errors) {
  const others = show(form, errors).map(({ message }) => message);
  form.querySelector(".problem").textContent = others.join("; ");
  form.querySelector(".sent").textContent = sent;
}
