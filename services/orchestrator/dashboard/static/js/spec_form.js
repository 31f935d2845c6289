// The form of a run's spec: which fields, under which labels.

import { h, replace } from "./dom.js";
import { ProfileField, offeredFor } from "./profile_choice.js";
import { SpecField } from "./spec_field.js";

const side = (name, label, ...own) => ({
  title: `${label}: model and sampling`,
  fields: [
    [`${name}.model`, "Model"],
    [`${name}.apis`, "Chat APIs instead of engines, NAME=WEIGHT, one per line", { kind: "weights" }],
    [`${name}.system_prompt`, "System prompt", { kind: "textarea" }],
    ...own,
    [`${name}.sampling.temperature`, "Temperature"],
    [`${name}.sampling.top_p`, "Top-p"],
    [`${name}.sampling.top_k`, "Top-k"],
    [`${name}.sampling.min_p`, "Min-p"],
    [`${name}.sampling.repetition_penalty`, "Repetition penalty"],
    [`${name}.sampling.max_tokens`, "Tokens of an utterance"],
  ],
});

/** Always visible; then groups that open. A field: way from the spec, label, what differs. */
export const BASICS = [
  ["conversations", "Conversations", { value: "20" }],
  ["endings.max_turns", "Utterances at most"],
  ["name", "Name"],
  ["simulator.profile", "Simulator (the user)"],
  ["respondent.profile", "Respondent (the assistant)"],
];
export const SEEDING = [
  ["seed_mode", "Seed mode"],
  ["repeats", "Conversations from each seed"],
  ["seed", "Random seed"],
  ["from_turn", "Turns of a seed that stand", { placeholder: "all" }],
];
export const GROUPS = [
  {
    title: "Endings",
    fields: [
      ["endings.context_tokens", "Context"],
      ["endings.min_turns", "Utterances at least"],
      ["endings.goodbye_threshold", "Probability from which it is a goodbye, 0 to 1", { placeholder: "none" }],
      ["endings.extra_turns", "Utterances after the goodbye"],
      ["endings.user_ended", "When the user says that it ends"],
      ["endings.goodbye_loops", "When both only say goodbye"],
      ["endings.repetition", "At repetition"],
      ["endings.empty", "At a blank utterance"],
      ["endings.stop_phrases", "Stop phrases, one per line", { kind: "lines" }],
    ],
  },
  side("simulator", "Simulator (the user)", ["simulator.instruction", "Instruction", { kind: "textarea" }]),
  side("respondent", "Respondent (the assistant)"),
  {
    title: "Realism of the user",
    fields: [
      ["limits.realism.repeats.at_most", "Repeats at most, 0 to 1"],
      ["limits.realism.role_slips.at_most", "Role slips at most, 0 to 1"],
      ["limits.realism.distinct_openings.at_least", "Distinct openings at least, 0 to 1"],
      ["limits.realism.mtld.at_least", "Lexical diversity (MTLD) at least"],
      ["limits.realism.after", "Judged after conversations"],
      ["limits.realism.then", "When a figure leaves its bounds"],
    ],
  },
  {
    title: "Limits and output",
    fields: [
      ["limits.in_flight", "In flight at most"],
      ["limits.generated_tokens", "Pause after tokens"],
      ["limits.dead", "Pause after dead ones"],
      ["limits.budget", "Budget for chat APIs"],
      ["retries.attempts", "Attempts"],
      ["output.format", "Segments' format"],
      ["output.segment_records", "Conversations in a segment"],
      ["output.url", "Dataset's place (URL)"],
    ],
  },
];

/** All fields, by name, put into the places of the page; `profiles`: a ProfileList. */
export function buildFields(schema, profiles, { basics, seeding, groups }) {
  const fields = new Map();
  const made = ([name, label, options]) => {
    const [about, offered] = [schema.field(name), offeredFor(name, profiles)];
    const field = offered ? new ProfileField(name, label, about, offered) : new SpecField(name, label, about, options);
    fields.set(name, field);
    return field.element;
  };
  replace(basics, BASICS.map(made));
  replace(seeding, SEEDING.map(made));
  replace(
    groups,
    GROUPS.map(({ title, fields: own }) =>
      h("details", { class: "card" }, h("summary", {}, title), h("div", { class: "fields" }, own.map(made))),
    ),
  );
  for (const field of fields.values()) if (field instanceof ProfileField) field.follow(fields);
  return fields;
}

/** The spec that the fields ask for; what is left at its default is left out. */
export function specOf(fields) {
  const spec = {};
  for (const [name, field] of fields) {
    const value = field.value();
    if (value === undefined) continue;
    const way = name.split(".");
    const last = way.pop();
    let node = spec;
    for (const part of way) node = node[part] ??= {};
    node[last] = value;
  }
  for (const side of ["simulator", "respondent"]) {
    if (spec[side]) spec[side].profile ??= fields.get(`${side}.profile`).control.value;
  }
  return spec;
}
