/** One request to the models at a time: its utterances become turns of the tree as they come in. */

import { streamPost } from "./api.js";

/** How a stream that was left is treated. */
export const KEEP = "keep";
export const DISCARD = "discard";

export class Speaking {
  #tree;
  #hear;
  #abort = null;
  #node = null;
  #onLeave = KEEP;

  /** `hear`: functions `began(node)`, `token(node)`, `turn(node)`, `ended(reason)`, `failed(message)`, `over()`. */
  constructor(tree, hear) {
    this.#tree = tree;
    this.#hear = hear;
  }

  get isBusy() {
    return this.#abort !== null;
  }

  /** The turn that is being made, or null. */
  get node() {
    return this.#node;
  }

  /** Ask for what follows node `parent` (null: an opening); the first utterance becomes a branch beside others there. */
  async go(body, parent) {
    const abort = (this.#abort = new AbortController());
    this.#onLeave = KEEP;
    const heard = { after: parent, isOver: false };
    try {
      await streamPost("/v1/dialogues", body, this.#handlers(heard), abort.signal);
      if (!heard.isOver) this.#fail("The answer broke off.");
    } catch (error) {
      if (abort.signal.aborted) this.#leave();
      else this.#fail(error.message);
    } finally {
      this.#abort = null;
      this.#node = null;
      this.#hear.over();
    }
  }

  /** Stop: what was said so far stays as a turn (KEEP) or goes (DISCARD). */
  stop(treatment = KEEP) {
    this.#onLeave = treatment;
    this.#abort?.abort();
  }

  #handlers(heard) {
    return {
      utterance: ({ role }) => {
        this.#node = this.#tree.add({ role, content: "", by: "model", isStreaming: true }, heard.after);
        this.#hear.began(this.#node);
      },
      token: ({ text }) => {
        this.#node.turn.content += text;
        this.#hear.token(this.#node);
      },
      again: () => {
        this.#node.turn.content = "";
        this.#hear.token(this.#node);
      },
      turn: (turn) => {
        heard.after = this.#complete(turn).id;
      },
      ended: ({ termination_reason: reason }) => {
        heard.isOver = true;
        this.#discard();
        this.#hear.ended(reason);
      },
      error: ({ detail }) => {
        heard.isOver = true;
        this.#fail(detail);
      },
      done: () => {
        heard.isOver = true;
      },
    };
  }

  #complete({ turn_index: _index, ...turn }) {
    const node = this.#node;
    this.#node = null;
    Object.assign(node.turn, turn, { isStreaming: false });
    this.#hear.turn(node);
    return node;
  }

  #leave() {
    const said = this.#node?.turn.content ?? "";
    if (this.#onLeave === DISCARD || said.trim() === "") this.#discard();
    else this.#complete({ finish_reason: "stopped" });
  }

  #fail(message) {
    this.#discard();
    this.#hear.failed(message);
  }

  /** A turn that did not come to its end; asked again, it is made anew. */
  #discard() {
    if (this.#node !== null) this.#tree.remove(this.#node.id);
    this.#node = null;
  }
}
