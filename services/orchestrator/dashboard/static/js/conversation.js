/** The reading view of one conversation; while it is in flight it grows, the utterance that is being made included. */

import { events, get } from "./api.js";
import { showHead } from "./conversation_head.js";
import { $, announce, copy, h, replace, setText } from "./dom.js";
import { ROLES } from "./format.js";
import { onKeys } from "./keys.js";
import { MarkCard } from "./mark.js";
import { RawJson } from "./raw_json.js";
import { listWith, neighbour } from "./record_neighbours.js";
import { searchOf } from "./record_query.js";
import { factsOf, TurnView } from "./turn_view.js";
import { remarksOf } from "./utterance_remarks.js";

const page = $("#reading");
const id = page.dataset.conversation;
const path = `/v1/conversations/${encodeURIComponent(id)}`;
const LIVE = ["queued", "in_flight"];

const mark = new MarkCard(id, (kept) => showDetail({ ...shown.detail, mark: kept }));
const raw = new RawJson(id);
const shown = { detail: null, spec: null, turns: [], partial: null, isRaw: false, stream: null };

async function start() {
  $("#mark").append(mark.element);
  $("#raw-json").append(raw.element);
  bind();
  try {
    await first(await get(path));
  } catch (error) {
    showError(error);
  }
}

async function first(detail) {
  showDetail(detail);
  if (LIVE.includes(detail.state)) follow();
  if (detail.record === null || detail.record === undefined) await askSpec(detail.run_id);
}

/** Who speaks is in the run's spec until the record says it. */
async function askSpec(runId) {
  shown.spec = (await get(`/v1/runs/${encodeURIComponent(runId)}`)).spec;
  showDetail(shown.detail);
}

function follow() {
  shown.stream = events(
    `${path}/events`,
    {
      conversation: (detail, stream) => {
        showDetail(detail);
        if (!LIVE.includes(detail.state)) stream.close();
      },
      partial: showPartial,
      turn: (turn) => {
        shown.detail.turns[turn.turn_index] ??= turn;
        showDetail({ ...shown.detail, state: "in_flight" });
        announce(`${ROLES[turn.role]}: ${turn.content}`);
      },
      ended: ({ termination_reason: reason }) => announce(`Conversation ended: ${reason.replaceAll("_", " ")}`),
    },
    { onrefused: showError },
  );
}

function showDetail(detail) {
  shown.detail = detail;
  detail.turns.forEach((turn, index) => showTurn(index, turn));
  const isLive = LIVE.includes(detail.state);
  if (!isLive) dropTurns(detail.turns.length);
  showHead({ badges: $("#badges"), facts: $("#facts") }, detail, shown.spec);
  if (detail.record) mark.set(detail.mark ?? null);
  raw.set(detail.record ?? detail);
  showTail();
}

/** What is left out of the record (a blank or repeated last utterance) leaves the page too. */
function dropTurns(count) {
  for (const view of shown.turns.splice(count)) view.element.remove();
}

function showTurn(index, turn) {
  const view = turnView(index, turn.role);
  view.complete(turn.content);
  view.setHead(...titleOf(index, turn.role), ...remarksOf(turn));
  view.setFacts(factsOf(turn));
  if (shown.partial === index) shown.partial = null;
}

function showPartial({ turn_index: index, role, text }) {
  if (index < shown.turns.length && shown.partial !== index) return; // it was complete before
  if (shown.detail.state === "queued") showDetail({ ...shown.detail, state: "in_flight" });
  shown.partial = index;
  turnView(index, role).stream(text);
  showTail();
}

function turnView(index, role) {
  if (shown.turns[index] === undefined) {
    const view = new TurnView(role, index + 1);
    view.setHead(...titleOf(index, role));
    view.setRaw(shown.isRaw);
    shown.turns[index] = view;
    $("#turns").append(view.element);
  }
  return shown.turns[index];
}

const titleOf = (index, role) => [
  ROLES[role] ?? role,
  h("span", { class: "turn__number muted" }, `#${index + 1}`),
];

/** The line below the turns: what goes on, or what is missing. */
function showTail() {
  const { detail, turns } = shown;
  setText($("#tail"), tailOf(detail, turns.length));
  const error = $("#error");
  if (detail.error) replace(error, `${detail.state === "dead" ? "It is dead" : "Last failure"}: ${detail.error}`);
  error.hidden = !detail.error;
}

function tailOf(detail, numTurns) {
  if (detail.state === "queued") return numTurns > 0 ? "Waiting for a worker." : "Queued: it begins when a worker is free.";
  if (detail.state === "in_flight") return shown.partial === null ? "The next utterance is being made …" : "";
  if (numTurns > 0) return "";
  return detail.record ? "Nothing that was said in it is in the dataset." : "Nothing was said in it.";
}

function showError(error) {
  const isMissing = error.status === 404;
  const missing = shown.detail === null ? `There is no conversation ${id}. ` : "It was given up: its run was cancelled. ";
  replace(
    $("#error"),
    isMissing ? missing : `${error.message} `,
    isMissing ? h("a", { href: "/runs" }, "See the runs") : retryButton(),
  );
  $("#error").hidden = false;
  setText($("#tail"), "");
}

function retryButton() {
  return h("button", { type: "button", class: "button", onclick: () => location.reload() }, "Try again");
}

function bind() {
  $("#copy").addEventListener("click", (event) => copy(asText(), event.currentTarget));
  $("#permalink").addEventListener("click", (event) => {
    event.preventDefault();
    copy(event.currentTarget.href, event.currentTarget);
  });
  $("#raw-text").addEventListener("click", toggleRaw);
  $("#next").addEventListener("click", () => go(1));
  $("#previous").addEventListener("click", () => go(-1));
  const list = listWith(id);
  if (list) $("#list").href = `/runs/${list.runId}/conversations${searchOf(list.query)}`;
  onKeys({ g: () => mark.good(), b: () => mark.bad(), j: () => go(1), k: () => go(-1), r: toggleRaw });
}

function asText() {
  return shown.turns.map(({ role, text }) => `${ROLES[role] ?? role}: ${text}`).join("\n\n");
}

function toggleRaw() {
  shown.isRaw = !shown.isRaw;
  $("#raw-text").setAttribute("aria-pressed", String(shown.isRaw));
  for (const view of shown.turns) view.setRaw(shown.isRaw);
}

async function go(step) {
  const status = $("#neighbour");
  setText(status, "Looking …");
  try {
    const found = await neighbour(id, step);
    if (found !== null) location.assign(`/conversations/${found}`);
    else setText(status, step > 0 ? "This is the last one." : "This is the first one.");
  } catch (error) {
    setText(status, error.message);
  }
}

start();
