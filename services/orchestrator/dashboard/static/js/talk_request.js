/** What is asked of `POST /v1/dialogues` and `POST /v1/talks`, from a talk and its settings. No page. */

import { nextRole } from "./talk_tree.js";

/** What switches a rule off, by the ending that it gave. The context's limit is not ours to lift. */
const OFF = {
  user_ended: { user_ended: false },
  stop_phrase: { stop_phrases: [] },
  turn_limit: { max_turns: null },
  repetition: { repetition: false },
  empty: { empty: false },
};

/** The ending at which the shown path stands, null where it goes on. */
export function endingAt(tree) {
  const turn = tree.tip?.turn;
  return turn?.ended && !turn.goesOn ? turn.ended : null;
}

export function canGoOn(reason) {
  return reason in OFF;
}

/** Whether a model makes the next turn by itself. */
export function isModelsTurn(talk) {
  return talk.mode === "watch" || nextRole(talk.tree.messages()) !== talk.mode;
}

/** Body of a request for what follows the shown path (up to node `before`, if given). `seed` overrides the setting. */
export function dialogueOf(talk, settings, { before = null, numTurns = null, seed = settings.seed } = {}) {
  const messages = talk.tree.messages(before);
  return {
    messages,
    speaker: nextRole(messages),
    num_turns: numTurns ?? (talk.mode === "watch" ? settings.num_turns : 1),
    simulator: settings.simulator,
    respondent: settings.respondent,
    endings: { ...settings.endings, ...liftedOn(talk.tree.path) },
    seed,
    session_id: talk.session,
  };
}

function liftedOn(path) {
  const lifted = path.filter(({ turn }) => turn.goesOn).map(({ turn }) => OFF[turn.ended] ?? {});
  return Object.assign({}, ...lifted);
}

/** A seed for another try: beside a fixed one its successor, else any. */
export function otherSeed(settings, numTries) {
  return settings.seed === null ? null : settings.seed + numTries;
}

/** Body that saves the shown path. */
export function savedTalkOf(talk, settings) {
  const { title, mark, tree, startedAt } = talk;
  return {
    turns: tree.path.map(({ turn }) => turnOf(turn)),
    simulator: settings.simulator,
    respondent: settings.respondent,
    termination_reason: endingAt(tree),
    seed: settings.seed ?? 0,
    started_at: startedAt,
    title: title.trim() || null,
    mark: mark || null,
  };
}

const KEPT = [
  "num_tokens", "num_prompt_tokens", "num_cached_tokens", "finish_reason", "sampling_seed", "duration_s", "model",
  "profile", "end",
];

/** A turn as its event gave it; of a person's there is its text only. */
function turnOf(turn) {
  const kept = turn.by === "model" ? KEPT.filter((name) => turn[name] !== undefined) : [];
  return { role: turn.role, content: turn.content, ...Object.fromEntries(kept.map((name) => [name, turn[name]])) };
}
