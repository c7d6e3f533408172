// A form made from a JSON Schema: one field per argument, and back to JSON.

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;

const EXAMPLES = { "date-time": "2026-11-22T12:00:00Z", time: "12:00:00", uuid: "a UUID" };

/** The fields for `schema`, ready to be put into a form; `prefix` sets their ids apart. */
export function fields(schema, prefix = "argument") {
  return Object.entries(schema.properties ?? {}).map(([name, property]) =>
    field(prefix, name, resolved(property, schema), schema.required?.includes(name) ?? false),
  );
}

/**
 * The arguments that `form` holds, as JSON text, so that numbers stay as they were typed. What was
 * not touched is left out, unless it is required. Throws {pointer, message}.
 */
export function read(form) {
  const given = [...members(form)].map(([name, text]) => `${JSON.stringify(name)}:${text}`);
  return `{${given.join()}}`;
}

/** The same, each by its name. */
export function members(form) {
  const all = inputs(form).map((input) => [input.dataset.name, readInput(input)]);
  return new Map(all.filter(([, text]) => text !== undefined));
}

/** What people have changed in `form`, by name; `restore` puts it into another form. */
export function touched(form) {
  const changed = inputs(form).filter((input) => current(input) !== input.dataset.initial);
  return new Map(changed.map((input) => [input.dataset.name, current(input)]));
}

export function restore(form, values) {
  for (const input of inputs(form)) {
    if (!values.has(input.dataset.name)) continue;
    if (input.type === "checkbox") input.checked = values.get(input.dataset.name) === "true";
    else input.value = values.get(input.dataset.name);
  }
}

/** Show `errors`, a list of {pointer, message}, at their fields; returns those without a field. */
export function show(form, errors) {
  const named = new Map(inputs(form).map((input) => [input.dataset.name, input]));
  for (const [name, input] of named) {
    const own = errors.filter(({ pointer }) => nameOf(pointer) === name);
    mark(input, own.map(({ message }) => message).join("; "));
  }
  form.querySelector('[aria-invalid="true"]')?.focus();
  return errors.filter(({ pointer }) => !named.has(nameOf(pointer)));
}

function inputs(form) {
  return [...form.querySelectorAll("[data-name]")];
}

function current(input) {
  return input.type === "checkbox" ? String(input.checked) : input.value;
}

function nameOf(pointer) {
  return pointer.split("/")[1]?.replaceAll("~1", "/").replaceAll("~0", "~");
}

function mark(input, message) {
  input.setAttribute("aria-invalid", String(message !== ""));
  document.getElementById(`${input.id}-error`).textContent = message;
}

/** Follow `$ref` and step into "something or null", so that the common types get their own input. */
function resolved(property, schema) {
  if (property.$ref) {
    const target = schema.$defs?.[property.$ref.split("/").pop()] ?? {};
    return resolved({ ...target, ...property, $ref: undefined }, schema);
  }
  const choices = property.anyOf?.filter((choice) => choice.type !== "null") ?? [];
  if (choices.length === 1 && property.anyOf.length === 2) {
    return resolved({ ...choices[0], ...property, anyOf: undefined, nullable: true }, schema);
  }
  return property;
}

function field(prefix, name, property, required) {
  const input = makeInput(property);
  input.id = `${prefix}-${name}`;
  // A checkbox always says something; to browsers "required" means that it has to be ticked.
  input.required = required && input.type !== "checkbox";
  if (required) input.dataset.required = "";
  Object.assign(input.dataset, { name, initial: current(input) });
  if (property.nullable) input.dataset.nullable = "";
  input.addEventListener("input", () => mark(input, ""));
  const label = element("label", { htmlFor: input.id, textContent: name });
  if (input.required) label.append(element("small", { textContent: " (required)" }));
  const hint = element("small", { id: `${input.id}-hint`, textContent: property.description ?? "" });
  const error = element("small", { id: `${input.id}-error`, className: "error" });
  input.setAttribute("aria-describedby", `${hint.id} ${error.id}`);
  const box = element("div", { className: "field" });
  box.append(label, input, hint, error);
  return box;
}

function makeInput(property) {
  const { type, format, nullable, default: initial } = property;
  if (property.enum) return makeSelect(property.enum, property);
  if (type === "boolean" && nullable) return makeSelect([true, false], property);
  if (type === "boolean") {
    return kind("boolean", "input", { type: "checkbox", checked: initial === true });
  }
  if (type === "integer" || type === "number") {
    const input = kind("number", "input", { type: "number", value: initial ?? "" });
    input.step = type === "integer" ? "1" : "any";
    input.min = property.minimum ?? "";
    input.max = property.maximum ?? "";
    return input;
  }
  if (type === "string") {
    const input = kind("string", "input", { type: format === "date" ? "date" : "text" });
    return Object.assign(input, {
      value: initial ?? "",
      autocomplete: "off",
      placeholder: EXAMPLES[format] ?? "",
    });
  }
  const text = initial == null ? "" : JSON.stringify(initial, null, 2);
  return kind("json", "textarea", { rows: 3, value: text, placeholder: "JSON" });
}

function makeSelect(values, { nullable, default: initial }) {
  const select = kind("choice", "select", {});
  if (initial === undefined) select.append(new Option("", ""));
  for (const value of nullable ? [...values, null] : values) {
    const selected = value === initial;
    select.append(new Option(String(value), JSON.stringify(value), selected, selected));
  }
  return select;
}

function readInput(input) {
  const text = current(input);
  const { initial, nullable, required } = input.dataset;
  // A number field shows text that is no number, and hides it from scripts as "".
  if (input.validity.badInput) throw problemAt(input, "is not a number");
  if (text === initial && required === undefined) return undefined;
  if (text !== "") return asJson(input, text);
  if (input.required) throw problemAt(input, "is required");
  if (nullable !== undefined) return "null";
  if (input.dataset.kind === "string") return '""';
  throw problemAt(input, "needs a value");
}

function asJson(input, text) {
  if (input.dataset.kind === "string") return JSON.stringify(text);
  // "007" and ".5" are numbers to people.
  if (input.dataset.kind === "number") return NUMBER.test(text) ? text : String(Number(text));
  try {
    JSON.parse(text);
    return text;
  } catch {
    throw problemAt(input, "is not JSON");
  }
}

function problemAt(input, message) {
  const name = input.dataset.name.replaceAll("~", "~0").replaceAll("/", "~1");
  return { pointer: `/${name}`, message };
}

function kind(kind, tag, properties) {
  const made = element(tag, properties);
  made.dataset.kind = kind;
  return made;
}

function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
