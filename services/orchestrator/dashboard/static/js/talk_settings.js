/** The panel of how both sides are sampled, what ends a talk, and how far the models go by themselves. */

import { h } from "./dom.js";

const SIDES = { simulator: "Simulator (user)", respondent: "Respondent (assistant)" };
const RULES = {
  user_ended: "The simulator says that it is done",
  repetition: "A speaker repeats itself or loops",
  empty: "An utterance is blank",
};
const SAMPLING = {
  temperature: { label: "Temperature", min: 0, max: 2, step: 0.05 },
  top_p: { label: "Top p", min: 0.05, max: 1, step: 0.05 },
  max_tokens: { label: "Most tokens", min: 1, max: 1_000_000, step: 1 },
};
const DEFAULT_SIDE = { temperature: 0.7, top_p: 1, max_tokens: 512, system_prompt: null };

export function defaultSettings() {
  return {
    simulator: { ...DEFAULT_SIDE },
    respondent: { ...DEFAULT_SIDE },
    endings: { user_ended: true, repetition: true, empty: true, max_turns: null, stop_phrases: [] },
    seed: null,
    num_turns: 10,
  };
}

/** The panel; `values` is what stands in it, `onchange` hears of each change. A value out of range is not taken. */
export class TalkSettings {
  #onchange;

  constructor(container, values, onchange) {
    this.values = values ?? defaultSettings();
    this.#onchange = onchange;
    container.append(
      ...Object.entries(SIDES).map(([side, title]) => this.#side(side, title)),
      this.#endings(),
      this.#general(),
    );
  }

  #side(side, title) {
    const given = this.values[side];
    const fields = Object.entries(SAMPLING).map(([name, limits]) =>
      this.#number(`${side}-${name}`, limits, given[name], (value) => (given[name] = value)),
    );
    const prompt = this.#text(`${side}-prompt`, "System prompt", given.system_prompt ?? "", (text) => {
      given.system_prompt = text.trim() === "" ? null : text;
    });
    return group(title, h("div", { class: "settings__row" }, fields), prompt);
  }

  #endings() {
    const { endings } = this.values;
    const rules = Object.entries(RULES).map(([name, label]) => {
      const take = () => this.#set(endings, name, box.checked);
      const box = h("input", { type: "checkbox", checked: endings[name], onchange: take });
      return h("label", { class: "settings__check" }, box, " ", label);
    });
    const most = { label: "Utterances at most", min: 2, max: 100_000, step: 1, placeholder: "no limit" };
    const limit = this.#number("max-turns", most, endings.max_turns, (value) => (endings.max_turns = value), true);
    const phrases = this.#text("stop-phrases", "Stop phrases, one a line", endings.stop_phrases.join("\n"), (text) => {
      endings.stop_phrases = text.split("\n").map((line) => line.trim()).filter(Boolean);
    });
    return group("Ends when", rules, limit, phrases);
  }

  #general() {
    const { values } = this;
    const at = { label: "Utterances at a time (watch)", min: 1, max: 100, step: 1 };
    const seed = { label: "Seed", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, placeholder: "any" };
    return group(
      "Going on",
      this.#number("num-turns", at, values.num_turns, (value) => (values.num_turns = value)),
      this.#number("seed", seed, values.seed, (value) => (values.seed = value), true),
    );
  }

  #set(target, name, value) {
    target[name] = value;
    this.#onchange(this.values);
  }

  /** `isOptional`: an empty field is null; else it keeps its value. */
  #number(id, { label, ...limits }, value, take, isOptional = false) {
    const input = h("input", { type: "number", id, inputmode: "decimal", ...limits, value, required: !isOptional });
    input.addEventListener("change", () => {
      if (!input.reportValidity()) return;
      take(input.value === "" ? null : Number(input.value));
      this.#onchange(this.values);
    });
    return field(id, label, input);
  }

  #text(id, label, value, take) {
    const area = h("textarea", { id, rows: 2 }, value);
    area.addEventListener("change", () => {
      take(area.value);
      this.#onchange(this.values);
    });
    return field(id, label, area);
  }
}

function field(id, label, control) {
  return h("div", { class: "field" }, h("label", { for: id }, label), control);
}

function group(title, ...children) {
  return h("fieldset", { class: "settings__group" }, h("legend", {}, title), ...children);
}
