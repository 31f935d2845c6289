/** What stands above a conversation's turns: how it ended, how long it is, who spoke, how they were sampled, when. */

import { h, replace } from "./dom.js";
import { ENDINGS, duration, endingBadge, number, plural, stateBadge, time, tokens } from "./format.js";
import { markBadge } from "./mark.js";
import { afterGoodbye, faultsOf, goodbyeAt, goodbyeBadge } from "./utterance_remarks.js";

const isGiven = (value) => value !== null && value !== undefined && value !== "";

/** Fill `badges` and `facts` from a ConversationDetail; `spec`: the run's, where the record is not there yet. */
export function showHead({ badges, facts }, detail, spec) {
  const counted = detail.turns.reduce((sum, turn) => sum + (turn.num_tokens ?? 0), 0);
  replace(
    badges,
    stateOf(detail),
    goodbyeBadge(detail),
    h("span", { class: "stat" }, plural(Math.floor(detail.turns.length / 2), "round")),
    h("span", { class: "stat" }, tokens(counted)),
    markBadge(detail.mark),
  );
  replace(facts, factsOfHead(detail, spec));
}

function stateOf(detail) {
  const reason = detail.record?.termination_reason;
  if (detail.run_id === "talks" && reason === "cancelled") return h("span", { class: "badge" }, "no ending");
  return reason ? endingBadge(reason) : stateBadge(detail.state);
}

function endingOf({ run_id: runId, record }) {
  const reason = record?.termination_reason;
  return runId === "talks" && reason === "cancelled" ? null : ENDINGS[reason]?.explanation;
}

function factsOfHead(detail, spec) {
  const { record } = detail;
  const goodbye = goodbyeAt(detail);
  const faults = faultsOf(detail.turns);
  return [
    fact("Title", record?.title),
    fact("Ending", endingOf(detail)),
    goodbye === null ? null : fact("Goodbye", afterGoodbye(detail, goodbye)),
    faults.length ? fact("Found by guardrails, in all tries", ...faults) : null,
    side("Simulator (user)", record?.simulator ?? spec?.simulator),
    side("Respondent (assistant)", record?.respondent ?? spec?.respondent),
    ...(record ? whenOf(record) : []),
    fact("Seed", record?.seed ?? spec?.seed),
    fact("Starts from", startOf(record, spec)),
    detail.attempts > 0 ? fact("Failures in a row", number(detail.attempts)) : null,
  ];
}

function whenOf(record) {
  const took = record.finished_at - record.started_at;
  return [
    record.started_at > 0 ? fact("Started", time(record.started_at)) : null,
    record.finished_at > 0 ? fact("Finished", time(record.finished_at), took > 0 ? ` (${duration(took)})` : "") : null,
  ];
}

function startOf(record, spec) {
  const mode = record?.seed_mode ?? spec?.seed_mode;
  if (!isGiven(mode)) return null;
  return isGiven(record?.seed_line) ? `${mode}, line ${number(record.seed_line)} of the seeds` : mode;
}

function side(label, given) {
  if (!given) return null;
  const known = [["profile", given.profile], ...Object.entries(given.sampling ?? {})];
  const making = known.filter(([, value]) => isGiven(value));
  return fact(
    label,
    h("code", {}, given.model ?? "the served model"),
    making.map(([name, value]) => h("span", { class: "fact" }, h("span", { class: "fact__label" }, name), ` ${value}`)),
    isGiven(given.system_prompt) ? h("span", { class: "head__prompt" }, `System prompt: ${given.system_prompt}`) : null,
  );
}

function fact(label, ...values) {
  if (!isGiven(values[0])) return null;
  return h("div", { class: "head__fact" }, h("dt", {}, label), h("dd", {}, ...values));
}
