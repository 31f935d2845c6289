// What is to be said of few utterances: that they were a goodbye, and what guardrails found in the tries at them.

import { h } from "./dom.js";
import { counted, faultBadge, faultExplanation, percent, plural } from "./format.js";

const GOODBYES = {
  marker: "It ends with its profile's goodbye, which is cut off.",
  blank: "It is blank, which is how its profile says goodbye.",
  likely: "A goodbye was likely enough in it.",
};

const isGoodbye = ({ role, end }) => role === "user" && Boolean(end);
const isKnown = (value) => value !== null && value !== undefined;

/** Badges for the head of a turn. */
export function remarksOf(turn) {
  const badges = counted(turn.faults ?? []).map(([fault, count]) => faultBadge(fault, count));
  if (isGoodbye(turn)) badges.unshift(h("span", { class: "badge badge--goodbye", title: GOODBYES[turn.end] }, "goodbye"));
  return badges;
}

/** `[label, value, explanation]` for the foot of a turn; nothing where the engine was not asked. */
export function goodbyeFact({ goodbye_probability: probability }) {
  return isKnown(probability) ? [["goodbye", percent(probability), "how likely it was to hold a goodbye"]] : [];
}

/** Where the simulator said goodbye first: the position of a turn, also of one that the record leaves out; or null. */
export function goodbyeAt(detail) {
  const found = detail.record ? detail.record.goodbye_at : detail.turns.findIndex(isGoodbye);
  return isKnown(found) && found >= 0 ? found : null;
}

/** The badge of that for the head of a conversation. */
export function goodbyeBadge(detail) {
  const at = goodbyeAt(detail);
  return at === null ? null : h("span", { class: "badge badge--goodbye", title: afterGoodbye(detail, at) }, `goodbye in turn ${at + 1}`);
}

/** The same as a sentence. */
export function afterGoodbye(detail, at) {
  const made = detail.turns.length - at - 1;
  if (made < 0) return `The user said goodbye in turn ${at + 1}, which is left out: nobody answered it.`;
  return `The user said goodbye in turn ${at + 1}, with ${plural(made, "utterance")} after it.`;
}

/** What guardrails found in the tries at all of a conversation's turns, for its facts. */
export function faultsOf(turns) {
  const found = counted(turns.flatMap(({ faults }) => faults ?? []));
  return found.map(([fault, count]) =>
    h("span", { class: "head__fault" }, faultBadge(fault, count), ` ${faultExplanation(fault)}`),
  );
}
