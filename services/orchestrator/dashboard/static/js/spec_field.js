// One field of a run's form. Help, default and bounds are the API's own.

import { h, setText } from "./dom.js";

const CHOICES = {
  free: "free: no seeds",
  question: "question: the first one",
  exchange: "exchange: question and answer",
  intent: "intent: what the user wants",
  continue: "continue: go on with a conversation",
  reanswer: "reanswer: its user turns, answered anew",
};

const LONG = ["textarea", "lines", "weights"];

const lines = (text) =>
  text
    .split("\n")
    .map((line) => line.trim())
    .filter(Boolean);

/** `name` or `name=2.5` as a name and its weight; what is no number is sent as it is, for the API to complain of. */
function weight(line) {
  const [name, given = "1"] = line.split("=", 2).map((part) => part.trim());
  return [name, given === "" || Number.isNaN(Number(given)) ? given : Number(given)];
}

/** One field of the form: label, control, help, the place of its problem. */
export class SpecField {
  constructor(name, label, about, { kind, value, placeholder } = {}) {
    this.name = name;
    this.kind = kind ?? kindOf(about);
    this.description = about.description;
    this.default = about.default;
    const id = `spec-${name.replaceAll(".", "-")}`;
    this.control = control(this.kind, { id, name, "aria-describedby": `${id}-help ${id}-problem` }, about);
    if (value !== undefined) this.control.value = value;
    if (placeholder !== undefined) this.control.placeholder = placeholder;
    this.problem = h("span", { class: "field__problem", id: `${id}-problem` });
    this.help = h("small", { id: `${id}-help` }, sentence(about));
    const labelled = h("label", { for: id }, label);
    const isCheck = this.kind === "check";
    const look = ["field", isCheck && "field--check", LONG.includes(this.kind) && "field--wide"];
    this.element = h(
      "div",
      { class: look },
      isCheck ? [this.control, labelled] : [labelled, this.control],
      this.help,
      this.problem,
    );
  }

  /** What differs from the default; undefined: nothing. */
  value() {
    if (this.kind === "check") return this.control.checked === this.default ? undefined : this.control.checked;
    const text = this.control.value.trim();
    if (text === "" || text === String(this.default)) return undefined;
    if (this.kind === "lines") return lines(text);
    if (this.kind === "weights") return Object.fromEntries(lines(text).map(weight));
    return this.kind === "number" ? Number(text) : text;
  }

  /** Another default for a number; null: there is none, and `instead` says so. */
  setDefault(value, instead) {
    this.default = value;
    this.control.placeholder = value ?? instead;
    setText(this.help, sentence(this));
  }

  complain(text) {
    setText(this.problem, text);
    this.control.toggleAttribute("aria-invalid", Boolean(text));
    if (text) this.control.setAttribute("aria-invalid", "true");
  }
}

const kindOf = ({ type, choices }) => {
  if (choices) return "choice";
  return { boolean: "check", integer: "number", number: "number" }[type] ?? "text";
};

function control(kind, attributes, about) {
  if (kind === "choice") {
    const select = h(
      "select",
      attributes,
      about.choices.map((choice) => h("option", { value: choice }, CHOICES[choice] ?? choice)),
    );
    select.value = about.default;
    return select;
  }
  if (LONG.includes(kind)) return h("textarea", { ...attributes, rows: 3 });
  if (kind === "check") return h("input", { ...attributes, type: "checkbox", checked: about.default === true });
  if (kind === "text")
    return h("input", { ...attributes, type: "text", autocomplete: "off", placeholder: about.default });
  const bounds = { min: about.minimum === "any" ? undefined : about.minimum, max: about.maximum };
  const step = about.type === "number" ? "any" : 1;
  return h("input", {
    ...attributes,
    ...bounds,
    step,
    type: "number",
    inputmode: "decimal",
    placeholder: about.default ?? "no limit",
  });
}

function sentence({ description, default: given }) {
  const text = (description.charAt(0).toUpperCase() + description.slice(1)).replace(/\.$/, "");
  const isWorthSaying = given !== null && given !== "" && typeof given !== "object" && typeof given !== "boolean";
  if (!isWorthSaying) return text;
  return text ? `${text}. Default: ${given}` : `Default: ${given}`;
}
