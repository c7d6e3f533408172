// A form made from a JSON Schema: one field per argument, and back to JSON.

/** The fields for `schema`, ready to be put into a form. */
export function fields(schema) {
  return Object.entries(schema.properties ?? {}).map(([name, property]) =>
    field(name, resolved(property, schema), schema.required?.includes(name) ?? false),
  );
}

/** The arguments that `form` holds; an empty optional field is left out. Throws {pointer, message}. */
export function read(form) {
  const values = {};
  for (const input of form.querySelectorAll("[data-name]")) {
    const value = readInput(input);
    if (value !== undefined) values[input.dataset.name] = value;
  }
  return values;
}

/** Show `errors`, a list of {pointer, message}, at their fields; returns those without a field. */
export function show(form, errors) {
  for (const input of form.querySelectorAll("[data-name]")) {
    const own = errors.filter(({ pointer }) => nameOf(pointer) === input.dataset.name);
    input.setAttribute("aria-invalid", String(own.length > 0));
    document.getElementById(`${input.id}-error`).textContent = own
      .map(({ message }) => message)
      .join("; ");
  }
  const names = new Set([...form.querySelectorAll("[data-name]")].map((each) => each.dataset.name));
  return errors.filter(({ pointer }) => !names.has(nameOf(pointer)));
}

function nameOf(pointer) {
  return pointer.split("/")[1]?.replaceAll("~1", "/").replaceAll("~0", "~");
}

/** Follow `$ref` and step into "something or null", so that the common types get their own input. */
function resolved(property, schema) {
  if (property.$ref) {
    const target = schema.$defs?.[property.$ref.split("/").pop()] ?? {};
    return resolved({ ...target, ...property, $ref: undefined }, schema);
  }
  const choices = property.anyOf?.filter((choice) => choice.type !== "null") ?? [];
  if (choices.length === 1 && property.anyOf.length === 2) {
    return resolved({ ...choices[0], ...property, anyOf: undefined }, schema);
  }
  return property;
}

function field(name, property, required) {
  const input = makeInput(property);
  input.id = `argument-${name}`;
  input.dataset.name = name;
  input.required = required;
  const hint = element("small", { textContent: property.description ?? "" });
  const error = element("small", { id: `${input.id}-error`, className: "error" });
  input.setAttribute("aria-describedby", error.id);
  const label = element("label", { htmlFor: input.id, textContent: name + (required ? " *" : "") });
  const box = element("div", { className: "field" });
  box.append(label, input, hint, error);
  return box;
}

function makeInput(property) {
  const { type, default: initial } = property;
  if (property.enum) return makeSelect(property.enum, initial);
  if (type === "boolean") return element("input", { type: "checkbox", checked: initial === true });
  if (type === "integer" || type === "number") {
    const input = element("input", { type: "number", value: initial ?? "" });
    input.step = type === "integer" ? "1" : "any";
    input.min = property.minimum ?? "";
    input.max = property.maximum ?? "";
    input.dataset.kind = "number";
    return input;
  }
  if (type === "string") {
    const input = element("input", { type: "text", value: initial ?? "", autocomplete: "off" });
    input.dataset.kind = "string";
    return input;
  }
  const text = initial == null ? "" : JSON.stringify(initial, null, 2);
  const input = element("textarea", { rows: 3, value: text, placeholder: "JSON" });
  input.dataset.kind = "json";
  return input;
}

function makeSelect(values, initial) {
  const select = element("select", {});
  select.dataset.kind = "json";
  if (initial == null) select.append(new Option("", ""));
  for (const value of values) {
    const selected = value === initial;
    select.append(new Option(String(value), JSON.stringify(value), selected, selected));
  }
  return select;
}

function readInput(input) {
  if (input.type === "checkbox") return input.checked;
  // A number field shows text that is no number, and hides it from scripts as "".
  if (input.validity.badInput) throw problemAt(input, "is not a number");
  const text = input.value;
  if (text === "") return input.dataset.kind === "string" && input.required ? "" : undefined;
  if (input.dataset.kind === "string") return text;
  try {
    return JSON.parse(text);
  } catch {
    // "007" and ".5" are numbers to people.
    if (input.dataset.kind === "number") return Number(text);
    throw problemAt(input, "is not JSON");
  }
}

function problemAt(input, message) {
  const name = input.dataset.name.replaceAll("~", "~0").replaceAll("/", "~1");
  return { pointer: `/${name}`, message };
}

function element(tag, properties) {
  return Object.assign(document.createElement(tag), properties);
}
