/** Talk: to the respondent, to the simulator as the one it questions, or let both talk and step in. */

import { $, announce, copy, frame, h, replace, setText } from "./dom.js";
import { ENDINGS, endingBadge, ROLES } from "./format.js";
import { onKeys } from "./keys.js";
import { canGoOn, dialogueOf, endingAt, isModelsTurn, otherSeed } from "./talk_request.js";
import { followEnd } from "./talk_follow.js";
import { SaveCard } from "./talk_save.js";
import { TalkSettings } from "./talk_settings.js";
import { Speakers } from "./talk_speakers.js";
import { keepTalk, newTalk, openTalk } from "./talk_store.js";
import { DISCARD, Speaking } from "./talk_stream.js";
import { nextRole } from "./talk_tree.js";
import { TalkTurns } from "./talk_turns.js";

const ANNOUNCED_CHARS = 600;
const SPEAKERS = { user: "simulator", assistant: "respondent" };

const form = $("#composer");
const message = $("#message");
const speakers = new Speakers($("#speakers"));
const saving = new SaveCard(() => settings.values, () => frame(keep));

let talk = openTalk();
let speaking;
let turns;
let settings;
let isSteppingIn = false;
let lastRequest = null;

/** Bring the page to the open talk. */
function open() {
  speaking = new Speaking(talk.tree, hear);
  turns = new TalkTurns(replace($("#turns")), talk.tree, { edit, again, choose });
  settings = new TalkSettings(replace($("#settings")), talk.settings, (values) => {
    talk.settings = values;
    keepTalk(talk);
  });
  message.value = talk.draft;
  saving.open(talk);
  $(`#modes input[value="${talk.mode}"]`).checked = true;
  isSteppingIn = false;
  lastRequest = null;
  grow();
  showFailure(null);
  show();
}

const hear = {
  began: (node) => {
    node.turn.model = speakers.modelOf(node.turn.role);
    show();
  },
  token: (node) => turns.grow(node),
  turn: (node) => {
    show();
    const { role, content } = node.turn;
    announce(`${ROLES[role]}: ${content.slice(0, ANNOUNCED_CHARS)}`);
  },
  ended: (reason) => {
    const node = talk.tree.tip;
    if (node !== null) Object.assign(node.turn, { ended: reason, goesOn: false });
    announce(`Ended: ${ENDINGS[reason]?.label ?? reason}`);
  },
  failed: (text) => {
    showFailure(text);
    speakers.ask().then(() => showFailure(text));
  },
  over: () => show(),
};

/** Let the models go on after the shown path, or make the turn of `before` again. */
function speak({ before = null, numTurns = null, seed } = {}) {
  if (speaking.isBusy) return;
  isSteppingIn = false;
  showFailure(null);
  lastRequest = { before, numTurns, seed };
  const parent = before === null ? (talk.tree.tip?.id ?? null) : talk.tree.parentOf(before);
  changed();
  speaking.go(dialogueOf(talk, settings.values, { before, numTurns, seed }), parent);
  show();
}

function goOnIfModels() {
  if (isModelsTurn(talk)) speak();
  else show();
}

function send(event) {
  event?.preventDefault();
  const text = message.value;
  if (speaking.isBusy || !canSend()) return;
  if (text.trim() !== "") say(text);
  else if (!talk.tree.isEmpty) return;
  speak();
}

function say(text) {
  changed();
  talk.tree.add({ role: nextRole(talk.tree.messages()), content: text, by: "person" });
  message.value = "";
  drafted();
}

/** Whether it is the person's turn; at a talk's beginning an empty message lets the simulator open. */
function canSend() {
  if (endingAt(talk.tree) !== null) return false;
  const isOpening = talk.tree.isEmpty && talk.mode !== "user";
  if (message.value.trim() === "") return isOpening;
  return isSteppingIn || (talk.tree.isEmpty && talk.mode === "watch") || !isModelsTurn(talk);
}

function stepIn() {
  isSteppingIn = true;
  speaking.stop(DISCARD);
  show();
  message.focus();
}

function goOn() {
  const ended = endingAt(talk.tree) !== null;
  if (ended) talk.tree.tip.turn.goesOn = true;
  if (ended) goOnIfModels();
  else speak();
  if (!speaking.isBusy) message.focus();
}

function edit(node, text) {
  const branch = { role: node.turn.role, content: text, by: "person" };
  talk.tree.add(branch, talk.tree.parentOf(node.id));
  changed();
  goOnIfModels();
}

function again(node) {
  const tries = talk.tree.branches(node.id).length;
  speak({ before: node.id, numTurns: 1, seed: otherSeed(settings.values, tries) });
}

function choose(id) {
  talk.tree.choose(id);
  changed();
  show();
}

/** What was saved is no longer what is shown. */
function changed() {
  talk.saved = null;
  talk.startedAt ??= Date.now() / 1000;
}

function show() {
  const isBusy = speaking.isBusy;
  turns.show(isBusy);
  showControls(isBusy);
  showEnding(isBusy);
  saving.show(isBusy);
  $("#empty").hidden = !talk.tree.isEmpty || isBusy;
  setText($("#empty"), EMPTY[talk.mode]);
  keepTalk(talk);
}

const EMPTY = {
  user: "Ask the respondent something: you are the user, and it answers.",
  assistant: "Press Start: the simulator asks its first question, and you answer as the assistant.",
  watch: "Write an opening, or leave it empty and let the simulator open. Then press Start and watch; step in at any turn.",
};

function showControls(isBusy) {
  const { isEmpty, tip } = talk.tree;
  const isWatching = talk.mode === "watch" && !isEmpty && !isSteppingIn;
  const isAsking = talk.mode === "assistant" && isEmpty;
  const hasEnded = endingAt(talk.tree) !== null;
  $("#compose").hidden = isWatching || isAsking;
  setText($("#send"), isEmpty && talk.mode !== "user" ? "Start" : "Send");
  $("#send").hidden = isBusy || isWatching;
  $("#stop").hidden = !isBusy;
  $("#step-in").hidden = talk.mode !== "watch" || isEmpty || isSteppingIn || hasEnded;
  $("#go-on").hidden = isBusy || isEmpty || hasEnded || isSteppingIn || !isModelsTurn(talk);
  $("#again").hidden = isBusy || tip === null || tip.turn.by !== "model";
  $("#raw-text").hidden = $("#copy").hidden = isEmpty;
  for (const radio of form.ownerDocument.querySelectorAll("#modes input")) radio.disabled = isBusy;
  showSendable();
}

function showSendable() {
  $("#send").disabled = !canSend();
  const role = nextRole(talk.tree.messages());
  const isOwn = talk.mode === "watch" || role === talk.mode;
  const state = isOwn ? `You write as the ${role}.` : `It is the ${SPEAKERS[role]}'s turn.`;
  setText($("#hint"), speaking.isBusy ? "" : `${state} Enter sends, Shift+Enter breaks the line.`);
  $("#hint").hidden = $("#compose").hidden;
}

function showEnding(isBusy) {
  const reason = isBusy ? null : endingAt(talk.tree);
  const box = $("#ended");
  box.hidden = reason === null;
  if (reason === null) return replace(box);
  const button = h("button", { type: "button", class: "button", onclick: goOn }, "Go on anyway");
  const hint = "Edit an earlier turn, or start a new talk.";
  replace(box, endingBadge(reason), h("span", {}, ENDINGS[reason]?.explanation ?? ""), canGoOn(reason) ? button : hint);
  return box;
}

function showFailure(text) {
  const box = $("#error");
  box.hidden = text === null;
  if (text === null) return replace(box);
  const retry = h("button", { type: "button", class: "button", onclick: () => speak(lastRequest ?? {}) }, "Try again");
  const said = text.replace(/[.\s]*$/, ".");
  const advice = text.includes(speakers.advice) ? "" : speakers.advice;
  return replace(box, h("span", {}, `${said} ${advice}`), " ", retry);
}

function drafted() {
  talk.draft = message.value;
  grow();
  showSendable();
  frame(keep);
}

const keep = () => keepTalk(talk);

/** As many lines as are written, up to what CSS allows. */
function grow() {
  message.style.height = "auto";
  message.style.height = `${message.scrollHeight + 2}px`;
}

function startNew() {
  speaking.stop(DISCARD);
  talk = newTalk(talk.mode, settings.values);
  open();
  message.focus();
}

function asText() {
  return talk.tree.path.map(({ turn }) => `${ROLES[turn.role]}: ${turn.content}`).join("\n\n");
}

function onMessageKey(event) {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
}

function toggleRaw(event) {
  const isRaw = event.currentTarget.getAttribute("aria-pressed") !== "true";
  event.currentTarget.setAttribute("aria-pressed", String(isRaw));
  turns.setRaw(isRaw);
}

function bind() {
  form.addEventListener("submit", send);
  message.addEventListener("input", drafted);
  message.addEventListener("keydown", onMessageKey);
  const clicks = {
    "#stop": () => speaking.stop(), "#step-in": stepIn, "#go-on": goOn, "#again": () => again(talk.tree.tip),
    "#new": startNew, "#raw-text": toggleRaw, "#copy": (event) => copy(asText(), event.currentTarget),
  };
  for (const [selector, act] of Object.entries(clicks)) $(selector).addEventListener("click", act);
  $("#modes").addEventListener("change", (event) => {
    talk.mode = event.target.value;
    isSteppingIn = false;
    show();
  });
  onKeys({ Escape: () => speaking.isBusy && speaking.stop() });
}

bind();
followEnd($(".talk__main"));
open();
speakers.ask();
