/** Which side can speak: shown above a talk, asked again while one cannot. */

import { get } from "./api.js";
import { h, replace } from "./dom.js";
import { number } from "./format.js";

const AGAIN_MS = 5_000;
const SIDES = { simulator: "Simulator", respondent: "Respondent" };

export class Speakers {
  #container;
  #found = null;
  #timer = 0;

  constructor(container) {
    this.#container = container;
    document.addEventListener("visibilitychange", () => this.ask());
  }

  async ask() {
    clearTimeout(this.#timer);
    if (document.hidden) return;
    try {
      this.#found = await get("/v1/dialogues/speakers");
      this.#show();
    } catch (error) {
      replace(this.#container, error.message);
    }
    const isReady = this.#found !== null && Object.keys(SIDES).every((side) => this.#found[side]?.ready);
    if (!isReady) this.#timer = setTimeout(() => this.ask(), AGAIN_MS);
  }

  /** What to do about a failure, in a sentence or two; "" where both sides are ready. */
  get advice() {
    const away = Object.entries(SIDES).filter(([side]) => this.#found !== null && !this.#found[side]?.ready);
    return away.map(([side, name]) => this.#found[side]?.detail ?? `The ${name.toLowerCase()} is not ready.`).join(" ");
  }

  /** The model that speaks in a role, null where that is not known. */
  modelOf(role) {
    return this.#found?.[role === "user" ? "simulator" : "respondent"]?.model ?? null;
  }

  #show() {
    replace(this.#container, Object.entries(SIDES).map(([side, name]) => speaker(name, this.#found[side])));
  }
}

function speaker(name, found) {
  const isReady = found?.ready ?? false;
  const length = isReady && found.max_model_len ? `${number(found.max_model_len)} tokens of context` : null;
  return h(
    "span",
    { class: "speaker" },
    h("span", { class: "speaker__name" }, name),
    isReady ? h("code", { title: length }, found.model) : null,
    h(
      "span",
      { class: ["badge", isReady ? "badge--ready" : "badge--away"], title: found?.detail },
      isReady ? "ready" : "not ready",
    ),
  );
}
