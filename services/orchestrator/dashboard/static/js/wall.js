// The live wall: which conversations have a card, in which order, and when that may change.
//
// Newest first. Events only change what is known; once per animation frame the cards follow. Places change at most
// every `ARRANGE_EVERY_MS`, all at once, and not while somebody points at the wall or has the focus in it.

import { frame, replace, setText } from "./dom.js";
import { plural } from "./format.js";
import { Card, Talk } from "./wall_card.js";

export const MAX_CARDS = 60;
const MAX_KNOWN = 600;
const ARRANGE_EVERY_MS = 1500;
const ENDED_SHOWN_MS = 6000;
const GLIDE_MS = 350;

const isCalm = matchMedia("(prefers-reduced-motion: reduce)");

export class Wall {
  #talks = new Map();
  #cards = new Map();
  #changed = new Set();
  #gone = new Map();
  #arrangedMs = 0;
  #isHeld = false;
  #draw = () => this.#drawNow();

  /** `hint` is a button that shows how many wait while the order is held; `runName(run id)` gives a label. */
  constructor(element, hint, runName) {
    this.element = element;
    this.hint = hint;
    this.runName = runName;
    element.addEventListener("pointerover", (event) => event.pointerType === "mouse" && this.#hold(true));
    element.addEventListener("pointerleave", () => this.#hold(this.#isFocused()));
    element.addEventListener("focusin", () => this.#hold(this.#isFocused() || element.matches(":hover")));
    element.addEventListener(
      "focusout",
      (event) => element.contains(event.relatedTarget) || this.#hold(element.matches(":hover")),
    );
    element.addEventListener("keydown", (event) => this.#step(event));
    hint.addEventListener("click", () => this.arrange(true));
    setInterval(() => this.#tick(), 1000);
  }

  get numShown() {
    return this.#cards.size;
  }

  turn(event) {
    if (this.#gone.has(event.conversation_id)) return;
    const talk = this.#talk(event);
    talk.add(event);
    this.#changed.add(talk);
    frame(this.#draw);
  }

  ended({ conversation_id, termination_reason }) {
    this.#gone.set(conversation_id, termination_reason);
    if (this.#gone.size > MAX_KNOWN) this.#gone.delete(this.#gone.keys().next().value);
    const talk = this.#talks.get(conversation_id);
    if (!talk) return;
    if (!this.#cards.has(conversation_id)) this.#talks.delete(conversation_id);
    talk.end(termination_reason);
    this.#changed.add(talk);
    frame(this.#draw);
  }

  /** A conversation that is in flight, whose turns are not known yet. */
  found(event, numTurns) {
    if (this.#gone.has(event.conversation_id)) return;
    const talk = this.#talk(event);
    talk.numTurns = Math.max(talk.numTurns, numTurns);
    this.#changed.add(talk);
    frame(this.#draw);
  }

  /** Ids of cards whose texts are not known. */
  blanks() {
    return [...this.#cards.keys()].filter((id) => !this.#talks.get(id).turns.length && this.#talks.get(id).numTurns);
  }

  /** Ids of a run's talks without news since `ms`. */
  quiet(runId, ms) {
    return [...this.#talks.values()]
      .filter((talk) => talk.runId === runId && !talk.ending && talk.lastMs < ms)
      .map((talk) => talk.id);
  }

  /** Whether a card shows a talk without news for so long. */
  hasQuiet(forMs) {
    return [...this.#cards.values()].some(({ talk }) => !talk.ending && talk.lastMs < Date.now() - forMs);
  }

  /** Take something away that is in flight no more, without our having heard why. */
  drop(id) {
    const talk = this.#talks.get(id);
    if (talk) talk.isDropped = true;
    if (!this.#cards.has(id)) this.#talks.delete(id);
  }

  /** Take away what belongs to other runs than these. */
  retain(runIds) {
    for (const talk of [...this.#talks.values()]) if (!talk.ending && !runIds.has(talk.runId)) this.drop(talk.id);
  }

  clear() {
    this.#talks.clear();
    this.#cards.clear();
    this.#gone.clear();
    replace(this.element);
  }

  #talk({ conversation_id, run_id, index }) {
    let talk = this.#talks.get(conversation_id);
    if (!talk) {
      talk = new Talk(conversation_id, run_id, index);
      this.#talks.set(conversation_id, talk);
      this.#forgetOldest();
    }
    return talk;
  }

  #forgetOldest() {
    if (this.#talks.size <= MAX_KNOWN) return;
    for (const id of this.#talks.keys()) {
      if (this.#cards.has(id)) continue;
      this.#talks.delete(id);
      return;
    }
  }

  /** By keyboard: a click leaves a focus too, but whoever clicked has the pointer here or went away. */
  #isFocused() {
    return this.element.querySelector(":focus-visible") !== null;
  }

  /** Arrow keys go from card to card. */
  #step(event) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    const links = [...this.element.querySelectorAll("[data-conversation]")];
    const next = links[links.indexOf(document.activeElement) + by];
    if (!next) return;
    event.preventDefault();
    next.focus();
  }

  #hold(isHeld) {
    this.#isHeld = isHeld;
    this.element.classList.toggle("wall--held", isHeld);
    if (!isHeld) frame(this.#draw);
  }

  #drawNow() {
    for (const talk of this.#changed) this.#cards.get(talk.id)?.update();
    this.#changed.clear();
    const isFirst = this.#cards.size === 0;
    if (isFirst || Date.now() - this.#arrangedMs > ARRANGE_EVERY_MS) this.arrange(isFirst);
  }

  #tick() {
    for (const card of this.#cards.values()) card.tick();
    this.arrange(false);
  }

  /** Take away what ended, put new ones first. While held nothing moves, and the hint says how many would come. */
  arrange(isAsked) {
    const leaving = [...this.#cards.values()].filter((card) => this.#isOver(card.talk));
    const entering = this.#waiting().slice(0, Math.max(0, MAX_CARDS - this.#cards.size + leaving.length));
    const isMoving = isAsked || !this.#isHeld;
    this.hint.hidden = isMoving || entering.length === 0;
    if (!isMoving) return setText(this.hint, `Show ${plural(entering.length, "new conversation")}`);
    this.#arrangedMs = Date.now();
    if (leaving.length || entering.length) this.#gliding(() => this.#move(leaving, entering));
  }

  #isOver(talk) {
    return talk.isDropped || (talk.ending !== null && Date.now() - talk.endedMs > ENDED_SHOWN_MS);
  }

  /** Talks without a card, those with the newest activity first. */
  #waiting() {
    return [...this.#talks.values()]
      .filter((talk) => !this.#cards.has(talk.id) && !talk.ending)
      .sort((one, other) => other.lastMs - one.lastMs);
  }

  #move(leaving, entering) {
    for (const card of leaving) {
      card.element.remove();
      this.#cards.delete(card.talk.id);
      this.#talks.delete(card.talk.id);
    }
    const cards = entering.map((talk) => new Card(talk, this.runName(talk.runId)));
    for (const card of cards) this.#cards.set(card.talk.id, card);
    this.element.prepend(...cards.map((card) => card.element));
  }

  /** Cards that change their place glide there, so that the eye can follow. */
  #gliding(change) {
    if (isCalm.matches || document.hidden) return change();
    const before = new Map([...this.#cards.values()].map(({ element }) => [element, element.getBoundingClientRect()]));
    change();
    const moves = [...this.#cards.values()].map(({ element }) => [
      element,
      before.get(element),
      element.getBoundingClientRect(),
    ]);
    for (const [element, from, to] of moves) {
      if (to.top > innerHeight && (!from || from.top > innerHeight)) continue;
      if (!from) element.animate({ opacity: [0, 1] }, { duration: GLIDE_MS });
      else if (from.x !== to.x || from.y !== to.y) {
        const transform = [`translate(${from.x - to.x}px, ${from.y - to.y}px)`, "none"];
        element.animate({ transform }, { duration: GLIDE_MS, easing: "ease-out" });
      }
    }
  }
}
