/** One turn on the page: its text plain while it comes in, rendered once it is complete, or raw for who wants that. */

import { frame, h, replace } from "./dom.js";
import { duration, number, percent, rate, ROLES } from "./format.js";
import { rendered, setRendered } from "./markdown.js";
import { goodbyeFact } from "./utterance_remarks.js";

export class TurnView {
  #text = "";
  #isComplete = false;
  #isRaw = false;
  #body = h("div", { class: "turn__text", dir: "auto" });
  #head = h("header", { class: "turn__head" });
  #facts = h("footer", { class: "turn__facts" });
  #show = () => this.#showPlain();

  /** `number` counts from 1; `role` user or assistant. */
  constructor(role, number) {
    this.role = role;
    this.element = h("article", { class: ["turn", `turn--${role}`], "aria-label": `Turn ${number}, ${role}` });
    this.element.append(this.#head, this.#body, this.#facts);
    this.setHead(ROLES[role] ?? role);
  }

  get text() {
    return this.#text;
  }

  /** What stands above the text; nodes or texts. */
  setHead(title, ...beside) {
    replace(this.#head, h("span", { class: "turn__role" }, title), ...beside);
  }

  /** What is known of the turn, as `[label, value, explanation]`. */
  setFacts(facts) {
    replace(
      this.#facts,
      facts.map(([label, value, explanation]) =>
        h(
          "span",
          { class: "fact", title: explanation },
          label ? [h("span", { class: "fact__label" }, label), " "] : null,
          value,
        ),
      ),
    );
  }

  /** The whole text so far of a turn that is still coming; drawn once a frame. */
  stream(text) {
    this.#text = text;
    this.#isComplete = false;
    this.element.classList.add("turn--partial");
    frame(this.#show);
  }

  /** The text of a complete turn. Does nothing where it is shown already. */
  complete(text) {
    if (this.#isComplete && text === this.#text) return;
    this.#text = text;
    this.#isComplete = true;
    this.element.classList.remove("turn--partial");
    this.#showComplete();
  }

  setRaw(isRaw) {
    if (isRaw === this.#isRaw) return;
    this.#isRaw = isRaw;
    if (this.#isComplete) this.#showComplete();
  }

  /** Put a form in the text's place; null brings the text back. */
  setForm(form) {
    this.element.classList.toggle("turn--edited", form !== null);
    if (form === null) this.#showComplete();
    else {
      this.#body.classList.add("rendered"); // a form's white space is none of its text
      replace(this.#body, form);
    }
  }

  #showPlain() {
    this.#body.classList.remove("rendered");
    replace(this.#body, this.#text === "" && this.#isComplete ? blank() : this.#text);
  }

  async #showComplete() {
    const text = this.#text;
    this.#showPlain();
    if (this.#isRaw || text.trim() === "") return;
    try {
      const [html] = await rendered([text]);
      const isWanted = this.#text === text && this.#isComplete && !this.#isRaw && !this.#isEdited;
      if (isWanted) showRendered(this.#body, html);
    } catch {
      // The plain text stays: rendering is a comfort.
    }
  }

  get #isEdited() {
    return this.element.classList.contains("turn--edited");
  }
}

function showRendered(node, html) {
  setRendered(node, html);
  for (const wide of node.querySelectorAll("pre, table")) {
    if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0; // so that the arrow keys scroll it
  }
}

function blank() {
  return h("span", { class: "turn__blank" }, "(blank)");
}

const FINISHED = {
  stop: "ended by itself",
  length: "cut at max tokens",
  context: "cut by the context",
  stopped: "stopped by you",
};

/** What is known of a turn's making, from a record's or a dialogue's turn. */
export function factsOf(turn) {
  const facts = [];
  const add = (label, value, explanation) => facts.push([label, value, explanation]);
  if (turn.num_tokens > 0) add("own", `${number(turn.num_tokens)} tokens`, "tokens of this utterance");
  if (turn.num_prompt_tokens > 0) add("prompt", `${number(turn.num_prompt_tokens)} tokens`, "tokens it was asked with");
  if (turn.num_cached_tokens !== null && turn.num_cached_tokens !== undefined) add("cached", ...cached(turn));
  if (turn.duration_s > 0) {
    add("took", took(turn.duration_s), "from the request to the last token");
    if (turn.num_tokens > 0) add("speed", rate(turn.num_tokens / turn.duration_s, "tokens/s"), "own tokens by its time");
  }
  if (Number.isInteger(turn.sampling_seed)) add("sampling seed", String(turn.sampling_seed), "the same gives the same");
  facts.push(...goodbyeFact(turn));
  if (turn.finish_reason === "seed") add("", "given, not generated");
  else if (turn.finish_reason) add("finish", turn.finish_reason, FINISHED[turn.finish_reason]);
  return facts;
}

const took = (seconds) => (seconds < 1 ? `${number(seconds * 1000)} ms` : duration(seconds));

function cached(turn) {
  const share = turn.num_prompt_tokens > 0 ? ` (${percent(turn.num_cached_tokens / turn.num_prompt_tokens)})` : "";
  return [`${number(turn.num_cached_tokens)} tokens${share}`, "prompt tokens that were in the engine's prefix cache"];
}
