// One conversation's card on the live wall.

import { h, setText } from "./dom.js";
import { endingBadge, number, plural, ROLES, setAge } from "./format.js";

const SHOWN_TURNS = 3;
const SHOWN_CHARACTERS = 400;

/** A conversation as the wall knows it: its last few turns, cut to what a card can show. */
export class Talk {
  constructor(id, runId, index) {
    Object.assign(this, {
      id,
      runId,
      index,
      turns: [],
      numTurns: 0,
      lastMs: Date.now(),
      ending: null,
      endedMs: 0,
      isDropped: false,
    });
  }

  /** Take a turn; one that is known already, or older than what is shown, changes nothing. */
  add({ turn_index, role, content }) {
    this.lastMs = Date.now();
    this.numTurns = Math.max(this.numTurns, turn_index + 1);
    if (this.turns.some((turn) => turn.turn_index >= turn_index)) return;
    this.turns.push({ turn_index, role, text: content.slice(0, SHOWN_CHARACTERS) });
    if (this.turns.length > SHOWN_TURNS) this.turns.shift();
  }

  end(reason) {
    this.ending = reason;
    this.endedMs = Date.now();
  }
}

/** The element of a talk. `update()` touches only what changed since it was last called. */
export class Card {
  #turns = new Map();
  #rounds = h("span", {});
  #age = h("span", { class: "wall-card__age" });
  #ending = h("span", {});
  #body = h("div", { class: "wall-card__turns" });

  constructor(talk, runName) {
    this.talk = talk;
    this.link = h(
      "a",
      {
        class: "wall-card__open",
        href: `/?conversation=${talk.id}`,
        "data-conversation": talk.id,
        "aria-label": `Open ${talk.id}`,
      },
      `#${number(talk.index)}`,
    );
    const head = h(
      "div",
      { class: "wall-card__head" },
      this.link,
      h("span", { class: "wall-card__run", title: runName }, runName),
      this.#rounds,
      this.#age,
      this.#ending,
    );
    this.element = h("article", { class: "card wall-card", "aria-label": talk.id }, head, this.#body);
    this.update();
  }

  update() {
    const { talk } = this;
    setText(this.#rounds, plural(Math.floor(talk.numTurns / 2), "round"));
    const wanted = new Set(talk.turns.map((turn) => turn.turn_index));
    for (const [index, element] of this.#turns) {
      if (wanted.has(index)) continue;
      element.remove();
      this.#turns.delete(index);
    }
    for (const turn of talk.turns) if (!this.#turns.has(turn.turn_index)) this.#add(turn);
    if (talk.ending && !this.#ending.hasChildNodes()) {
      this.#ending.append(endingBadge(talk.ending));
      this.element.classList.add("wall-card--ended");
    }
    this.tick();
  }

  tick() {
    setAge(this.#age, this.talk.lastMs);
  }

  #add({ turn_index, role, text }) {
    const mark = h("span", { class: "turn__role" }, ROLES[role] ?? role);
    const element = h(
      "div",
      { class: `turn turn--${role}` },
      mark,
      " ",
      h("span", { dir: "auto" }, text.trim() || "(blank)"),
    );
    this.#turns.set(turn_index, element);
    this.#body.append(element);
  }
}
