/** Good, bad and a note: what a person thinks of a conversation, kept beside the dataset. */

import { put } from "./api.js";
import { announce, h, setText } from "./dom.js";

const NOTE_CHARS = 2000;

/** The card; `.good()` and `.bad()` are what its keys do. `onsaved` gets each mark as the API keeps it. */
export class MarkCard {
  #path;
  #mark = null;
  #kept = null;
  #onsaved;
  #isReady = false;
  #isSaving = false;
  #isStale = false;
  #good = h("button", { type: "button", class: "button", disabled: true, onclick: () => this.good() }, "Good");
  #bad = h("button", { type: "button", class: "button", disabled: true, onclick: () => this.bad() }, "Bad");
  #note = h("textarea", { id: "note", rows: 2, maxlength: NOTE_CHARS, disabled: true, onchange: () => this.#save() });
  #state = h("p", { class: "mark__state muted" });

  constructor(conversationId, onsaved = () => {}) {
    this.#path = `/v1/conversations/${encodeURIComponent(conversationId)}/mark`;
    this.#onsaved = onsaved;
    this.#good.setAttribute("aria-keyshortcuts", "g");
    this.#bad.setAttribute("aria-keyshortcuts", "b");
    this.element = h(
      "section",
      { class: "card mark", "aria-label": "Mark" },
      h("div", { class: "mark__buttons" }, this.#good, this.#bad, h("span", { class: "keys muted" }, kbd("g"), kbd("b"))),
      h("div", { class: "field" }, h("label", { for: "note" }, "Note"), this.#note),
      this.#state,
    );
    this.#show();
  }

  /** Show what is kept, `{mark, note}` or null; from now on it can be changed. */
  set(kept) {
    const isFirst = !this.#isReady;
    this.#isReady = true;
    for (const control of [this.#good, this.#bad, this.#note]) control.disabled = false;
    this.#kept = kept?.mark ?? null;
    if (!this.#isSaving) this.#mark = this.#kept;
    if (isFirst) this.#note.value = kept?.note ?? "";
    this.#show();
  }

  good() {
    return this.#toggle("good");
  }

  bad() {
    return this.#toggle("bad");
  }

  #toggle(mark) {
    if (!this.#isReady) return false;
    this.#mark = this.#mark === mark ? null : mark;
    this.#show();
    return this.#save();
  }

  /** One save at a time, so that the API keeps what was said last; what changes meanwhile goes with the next. */
  async #save() {
    this.#isStale = true;
    if (this.#isSaving) return;
    this.#isSaving = true;
    setText(this.#state, "Keeping…");
    try {
      while (this.#isStale) await this.#saveOnce();
      this.#said(this.#summary());
    } catch (error) {
      this.#isStale = false;
      this.#mark = this.#kept;
      this.#show();
      this.#said(`Not kept: ${error.message}`, true);
    } finally {
      this.#isSaving = false;
    }
  }

  async #saveOnce() {
    this.#isStale = false;
    // Kept alive: a reader who marks and leaves at once has marked.
    const kept = await put(this.#path, { mark: this.#mark, note: this.#noteText() || null }, { keepalive: true });
    this.#kept = kept?.mark ?? null;
    this.#onsaved(kept);
  }

  #noteText() {
    return this.#note.value.trim();
  }

  #summary() {
    const note = this.#noteText() === "" ? "" : " with a note";
    return this.#mark === null ? `No mark${note}` : `Marked ${this.#mark}${note}`;
  }

  #said(text, isError = false) {
    setText(this.#state, text);
    this.#state.classList.toggle("mark__state--error", isError);
    announce(text);
  }

  #show() {
    this.#good.setAttribute("aria-pressed", String(this.#mark === "good"));
    this.#bad.setAttribute("aria-pressed", String(this.#mark === "bad"));
  }
}

export function kbd(key) {
  return h("kbd", {}, key);
}

/** A mark in a list: a badge with its note as explanation; null: nothing. */
export function markBadge(kept) {
  const mark = typeof kept === "string" ? kept : (kept?.mark ?? null);
  if (mark === null) return null;
  return h("span", { class: `badge badge--${mark}`, title: kept.note || null }, mark);
}
