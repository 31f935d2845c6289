// Numbers with their units, local times, and the words for states and endings.

import { h, setText } from "./dom.js";

const UNKNOWN = "–";
const whole = new Intl.NumberFormat(undefined, { maximumFractionDigits: 0 });
const short = new Intl.NumberFormat(undefined, { notation: "compact", maximumFractionDigits: 1 });
const tenths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });
const hundredths = new Intl.NumberFormat(undefined, { maximumFractionDigits: 2 });
const moment = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });
const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "medium" });

const isKnown = (value) => typeof value === "number" && Number.isFinite(value);

/** 12345 → `12,345`; null → `–`. */
export const number = (value) => (isKnown(value) ? whole.format(value) : UNKNOWN);

/** 12345 → `12.3K`. */
export const compact = (value) => (isKnown(value) ? short.format(value) : UNKNOWN);

/** `1 round`, `2 rounds`. */
export const plural = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;

export const tokens = (count) => plural(count, "token");

/** 12.34, `tokens/s` → `12.3 tokens/s`. */
export function rate(value, unit) {
  if (!isKnown(value)) return `${UNKNOWN} ${unit}`;
  const format = value >= 100 ? whole : value >= 1 ? tenths : hundredths;
  return `${format.format(value)} ${unit}`;
}

/** 0.256 → `25.6 %`. */
export const percent = (share) => (isKnown(share) ? `${tenths.format(share * 100)} %` : UNKNOWN);

/** 12.34 → `12.3`. */
export const decimal = (value) => (isKnown(value) ? tenths.format(value) : UNKNOWN);

/** 0.01256 → `1.26 %`: for shares of which little is much. */
export const share = (value) => (isKnown(value) ? `${hundredths.format(value * 100)} %` : UNKNOWN);

/** Seconds → `0.8 s`, `45 s`, `3 min 20 s`, `2 h 05 min`, `4 d 3 h`. */
export function duration(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  if (seconds < 10) return `${tenths.format(Math.max(0, seconds))} s`;
  const s = Math.round(seconds);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${pad(s % 60)} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${pad(Math.floor((s % 3600) / 60))} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}

/** How long ago, to whole units: `now`, `12 s`, `3 min`, `2 h`. */
export function age(seconds) {
  if (!isKnown(seconds)) return UNKNOWN;
  if (seconds < 1) return "now";
  if (seconds < 60) return `${Math.floor(seconds)} s`;
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min`;
  return seconds < 86_400 ? `${Math.floor(seconds / 3600)} h` : `${Math.floor(seconds / 86_400)} d`;
}

const pad = (value) => String(value).padStart(2, "0");

/** Bytes → `3.2 MiB`. */
export function bytes(size) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let power = 0;
  for (; size >= 1024 && power < units.length - 1; power += 1) size /= 1024;
  return `${power ? tenths.format(size) : size} ${units[power]}`;
}

/** Seconds since the epoch as a local `<time>`. */
export function time(epochS, format = moment) {
  const date = new Date(epochS * 1000);
  return h("time", { datetime: date.toISOString(), title: date.toISOString() }, format.format(date));
}

/** The time of the day only. */
export const timeOfDay = (epochS) => time(epochS, clock);

/** Why a conversation ended: a label, and a sentence for whoever wonders. */
export const ENDINGS = {
  user_ended: { label: "user ended", explanation: "The user said that there is nothing more to ask." },
  stop_phrase: { label: "stop phrase", explanation: "The user said one of the run's stop phrases." },
  turn_limit: { label: "turn limit", explanation: "It reached the most utterances that the run allows." },
  context_full: { label: "context full", explanation: "The next utterance has no room in the model's context." },
  repetition: { label: "repetition", explanation: "A speaker said the same again or got stuck in a loop." },
  empty: { label: "empty", explanation: "An utterance came out blank." },
  goodbye_loop: { label: "goodbye loop", explanation: "Both sides did nothing but say goodbye to each other." },
  seed_exhausted: { label: "seed exhausted", explanation: "Every user turn of its seed is answered." },
  unusable: { label: "unusable", explanation: "The simulator kept giving itself away: it spoke as the assistant or thought aloud." },
  cancelled: { label: "cancelled", explanation: "The run was cancelled." },
  error: { label: "error", explanation: "It failed for good." },
};

/** Label of an ending, known here or not. */
export const endingLabel = (reason) => ENDINGS[reason]?.label ?? String(reason).replaceAll("_", " ");

/** Badge of an ending; null or undefined: still in flight. */
export function endingBadge(reason) {
  if (!reason) return h("span", { class: "badge badge--in_flight" }, "in flight");
  return h("span", { class: `badge badge--${reason}`, title: ENDINGS[reason]?.explanation }, endingLabel(reason));
}

/** What guardrails find in an utterance: a label, and a sentence for whoever wonders. */
const FAULTS = {
  reasoning_leak: { label: "thinks aloud", explanation: "It thought aloud about its task." },
  role_slip: { label: "role slip", explanation: "It spoke as the assistant, or wrote both sides." },
  early_end: { label: "early end", explanation: "It said goodbye before the conversation had got anywhere." },
  first_token: { label: "first word", explanation: "It began with a word that its profile filters." },
  repeated: { label: "repeated", explanation: "It said again what was said before, or what it was told." },
  too_short: { label: "too short", explanation: "It had fewer words than its profile wants." },
  too_long: { label: "too long", explanation: "It had more words than its profile wants." },
};

/** What a fault means; nothing where it is not known here. */
export const faultExplanation = (fault) => FAULTS[fault]?.explanation ?? "";

/** Badge of a fault, with how often it was found. */
export function faultBadge(fault, count = 1) {
  const label = FAULTS[fault]?.label ?? String(fault).replaceAll("_", " ");
  return h("span", { class: "badge badge--fault", title: faultExplanation(fault) }, count > 1 ? `${label} ×${count}` : label);
}

/** `["a", "b", "a"]` → `[["a", 2], ["b", 1]]`, the most frequent first. */
export function counted(values) {
  const counts = new Map();
  for (const value of values) counts.set(value, (counts.get(value) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

/** Badge of a run's or a conversation's state. */
export const stateBadge = (state) => h("span", { class: `badge badge--${state}` }, stateLabel(state));

/** `in_flight` → `in flight`. */
export const stateLabel = (state) => String(state).replaceAll("_", " ");

/** What the two sides are called. */
export const ROLES = { user: "User", assistant: "Assistant", system: "System" };

/** A run's name where it has one, else its id. */
export const runName = (run) => run.name ?? run.spec?.name ?? run.id;

/** Keep a node's age up to date as time goes by; for use in a page's own tick. */
export const setAge = (node, sinceMs) => setText(node, age((Date.now() - sinceMs) / 1000));
