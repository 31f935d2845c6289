// How much a run's user sounds like a person: figures beside their bounds, and what to do where one is beyond them.

import { $, announce, h, replace, setText } from "./dom.js";
import { decimal, number, share } from "./format.js";
import { isOver } from "./run_rates.js";

const FIGURES = {
  rounds: { label: "Rounds", explanation: "a conversation", format: decimal },
  user_words: { label: "Words of the user", explanation: "an utterance", format: decimal },
  assistant_words: { label: "Words of the assistant", explanation: "an utterance", format: decimal },
  mtld: { label: "Lexical diversity", explanation: "MTLD of an utterance of the user", format: decimal },
  repeats: { label: "Repeats", explanation: "of the user's utterances say the same again", format: share },
  role_slips: { label: "Role slips", explanation: "of the user's utterances speak as the assistant", format: share },
  distinct_openings: { label: "Distinct openings", explanation: "of the conversations", format: share },
};

/** A figure that is known here or not. */
const about = (name) => FIGURES[name] ?? { label: name.replaceAll("_", " "), explanation: "", format: decimal };

/** The table and the warning of a run's page; `limits` is `spec.limits.realism`. */
export class Realism {
  #limits = {};
  #shown = "";
  #outside = new Set();

  begin(limits) {
    this.#limits = limits ?? {};
  }

  update({ state, realism }) {
    const shown = JSON.stringify([state, realism]);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const { conversations = 0, figures = {}, out_of_bounds: outside = {} } = realism ?? {};
    replace(
      $("#realism-rows"),
      Object.entries(figures).map(([name, value]) => row(name, value, this.#limits[name], name in outside)),
    );
    $("#realism-table").hidden = conversations === 0;
    setText($("#realism-of"), measured(conversations));
    this.#warn(state, outside);
  }

  #warn(state, outside) {
    const names = Object.keys(outside);
    $("#out-of-bounds").hidden = names.length === 0;
    replace(
      $("#out-of-bounds-list"),
      names.map((name) => h("li", {}, outside[name])),
    );
    setText($("#out-of-bounds-advice"), advice(this.#limits.then, state));
    for (const name of names.filter((name) => !this.#outside.has(name))) announce(`Out of bounds: ${outside[name]}`);
    this.#outside = new Set(names);
  }
}

function row(name, value, bounds, isOutside) {
  const { label, explanation, format } = about(name);
  return h(
    "tr",
    {},
    h(
      "th",
      { scope: "row" },
      label,
      isOutside && h("span", { class: "badge badge--bad" }, "out of bounds"),
      h("small", {}, explanation),
    ),
    h("td", { class: "num" }, format(value)),
    h("td", { class: "num" }, between(bounds, format)),
  );
}

function between(bounds, format) {
  const { at_least: least = null, at_most: most = null } = bounds ?? {};
  if (least === null && most === null) return "–";
  if (least === null) return `at most ${format(most)}`;
  return most === null ? `at least ${format(least)}` : `${format(least)} to ${format(most)}`;
}

function measured(conversations) {
  if (conversations === 0) return "No conversation of the dataset has been measured.";
  return `Over ${number(conversations)} of the dataset's conversations, with what their seeds gave.`;
}

/** What a person can do about it. */
function advice(then, state) {
  if (isOver({ state }) || state === "cancelling")
    return `${then === "cancel" && state !== "completed" ? "The run was cancelled for that. " : ""}Read some of its conversations before you train on them.`;
  if (then === "pause" && state === "paused")
    return "Read some of its conversations, then resume the run or cancel it. What is out of bounds now does not pause it again before it has been within them.";
  return "The run goes on. Read some of its conversations, and pause or cancel it where they are not what you want.";
}
