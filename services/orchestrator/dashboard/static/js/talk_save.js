/** The card that saves a talk: title, mark, and where it was saved. */

import { post } from "./api.js";
import { $, announce, h, replace, setText } from "./dom.js";
import { savedTalkOf } from "./talk_request.js";

export class SaveCard {
  #talk = null;
  #settings;
  #isBusy = false;
  #title = $("#title");
  #mark = $("#talk-mark");
  #state = $("#save-state");

  /** `settings()` gives the panel's values, `onchange` hears of what is typed. */
  constructor(settings, onchange) {
    this.#settings = settings;
    $("#save").addEventListener("click", () => this.#save());
    this.#title.addEventListener("input", () => this.#take(onchange));
    this.#mark.addEventListener("change", () => this.#take(onchange));
  }

  open(talk) {
    this.#talk = talk;
    this.#title.value = talk.title;
    this.#mark.value = talk.mark;
  }

  show(isBusy = this.#isBusy) {
    this.#isBusy = isBusy;
    const { tree, saved } = this.#talk;
    $("#save").disabled = isBusy || tree.isEmpty || saved !== null;
    replace(this.#state, saved === null ? null : ["Saved as ", h("a", { href: `/conversations/${saved}` }, saved), "."]);
  }

  /** Under another title or mark it can be saved again. */
  #take(onchange) {
    Object.assign(this.#talk, { title: this.#title.value, mark: this.#mark.value, saved: null });
    this.show();
    onchange();
  }

  async #save() {
    const talk = this.#talk;
    $("#save").disabled = true;
    try {
      const { id } = await post("/v1/talks", savedTalkOf(talk, this.#settings()));
      talk.saved = id;
      announce(`Saved as ${id}`);
      if (talk === this.#talk) this.show();
    } catch (error) {
      $("#save").disabled = false;
      setText(this.#state, `Not saved: ${error.message}`);
    }
  }
}
