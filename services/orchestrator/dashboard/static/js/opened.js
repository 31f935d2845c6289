// The opened conversation beside the wall, streaming; on narrow screens a modal dialog.

import { events } from "./api.js";
import { $, copy, h, replace, setText } from "./dom.js";
import { endingBadge, plural, stateBadge, tokens } from "./format.js";
import { TurnView } from "./turn_view.js";

const narrow = matchMedia("(max-width: 900px)");
const isOver = (detail) => detail.state === "finished" || detail.state === "dead";

export class Opened {
  #stream = null;
  #detail = null;
  #turns = [];
  #partial = null;
  #views = new Map();
  #back = null;
  #isRead = false;

  /** `dialog` is the page's; `onclosed` is called when the reader closes it. */
  constructor(dialog, onclosed) {
    this.dialog = dialog;
    this.onclosed = onclosed;
    this.log = $(".opened__log", dialog);
    this.coming = $(".opened__coming", dialog);
    this.scroller = $(".opened__scroll", dialog);
    this.follow = $(".opened__follow", dialog);
    $("#opened-close", dialog).addEventListener("click", () => this.#leave());
    $("#opened-copy", dialog).addEventListener("click", (event) => copy(this.#asText(), event.currentTarget));
    $("#opened-json", dialog).addEventListener("click", (event) => copy(this.#asJson(), event.currentTarget));
    this.follow.addEventListener("click", () => this.#toEnd());
    this.scroller.addEventListener("scroll", () => (this.follow.hidden = this.#isAtEnd()));
    dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.#leave();
    });
    addEventListener(
      "keydown",
      (event) => event.key === "Escape" && this.id && !narrow.matches && !$("dialog:modal") && this.#leave(),
    );
    narrow.addEventListener("change", () => this.dialog.open && this.#present());
  }

  get id() {
    return this.dialog.open ? this.dialog.dataset.conversation : null;
  }

  /** Show a conversation and follow it. */
  open(id) {
    if (this.id === id) return;
    const isAsked = document.activeElement !== document.body;
    this.#back ??= document.activeElement;
    this.#forget();
    this.dialog.dataset.conversation = id;
    const title = $("#opened-title", this.dialog);
    setText(title, `Conversation ${Number(id.split("-").at(-1))}`);
    title.title = id;
    $("#opened-permalink", this.dialog).href = `/conversations/${id}`;
    replace($(".opened__facts", this.dialog), "Loading…");
    this.#present();
    if (isAsked) this.scroller.focus({ preventScroll: true });
    this.#stream = events(
      `/v1/conversations/${id}/events`,
      {
        conversation: (detail, stream) => this.#conversation(detail, stream),
        partial: (partial) => this.#stream_in(partial),
        turn: (turn) => this.#turn(turn),
      },
      { onrefused: (error) => this.#refused(error) },
    );
  }

  close() {
    this.#forget();
    if (this.dialog.open) this.dialog.close();
    if (this.#back?.isConnected) this.#back.focus({ preventScroll: true });
    this.#back = null;
  }

  #leave() {
    this.close();
    this.onclosed();
  }

  #present() {
    if (this.dialog.open) this.dialog.close();
    if (narrow.matches) this.dialog.showModal();
    else this.dialog.open = true; // show() would take the focus from whoever came by a link
  }

  #forget() {
    this.#stream?.close();
    this.#stream = this.#detail = this.#partial = null;
    this.#turns = [];
    this.#views.clear();
    replace(this.log);
    replace(this.coming);
    this.follow.hidden = true;
  }

  #conversation(detail, stream) {
    this.#isRead = this.#detail === null ? isOver(detail) : this.#isRead;
    this.#detail = detail;
    detail.turns.forEach((turn, turn_index) => this.#turn({ ...turn, turn_index }));
    if (isOver(detail)) {
      stream.close();
      this.#uncover();
    }
    this.#facts();
  }

  #turn(turn) {
    this.#keepingEnd(() => {
      if (this.#partial === turn.turn_index) this.#uncover();
      this.#turns[turn.turn_index] = turn;
      const view = this.#view(turn, this.log);
      view.complete(turn.content);
    });
    this.#facts();
  }

  /** A partial is outside the log, so that screen readers hear whole utterances only. */
  #stream_in({ turn_index, role, text }) {
    if (this.#turns[turn_index]) return;
    this.#keepingEnd(() => {
      if (this.#partial !== turn_index) this.#uncover();
      this.#partial = turn_index;
      this.#view({ turn_index, role }, this.coming).stream(text);
    });
  }

  #uncover() {
    if (this.#partial !== null && !this.#turns[this.#partial]) this.#views.delete(this.#partial);
    if (this.#partial !== null) this.#views.delete(this.#partial);
    replace(this.coming);
    this.#partial = null;
  }

  #view({ turn_index, role }, parent) {
    let view = this.#views.get(turn_index);
    if (!view) {
      view = new TurnView(role, turn_index + 1);
      this.#views.set(turn_index, view);
      parent.append(view.element);
    }
    return view;
  }

  #facts() {
    const detail = this.#detail;
    if (!detail) return;
    const known = this.#turns.filter(Boolean);
    const total = known.reduce((sum, turn) => sum + (turn.num_tokens ?? 0), 0);
    const reason = detail.record?.termination_reason;
    replace(
      $(".opened__facts", this.dialog),
      reason ? endingBadge(reason) : stateBadge(detail.state),
      plural(Math.floor(known.length / 2), "round"),
      total ? ` · ${tokens(total)}` : null,
      h("a", { href: `/runs/${detail.run_id}` }, detail.run_id),
      detail.error ? h("span", { class: "opened__error" }, detail.error) : null,
    );
  }

  #refused(error) {
    const text = error.status === 404 ? "It is not there: its run was cancelled, or the id is wrong." : error.message;
    replace($(".opened__facts", this.dialog), h("span", { role: "alert" }, text));
  }

  #isAtEnd() {
    return this.scroller.scrollHeight - this.scroller.scrollTop - this.scroller.clientHeight < 48;
  }

  #toEnd() {
    this.scroller.scrollTop = this.scroller.scrollHeight;
  }

  /** Whoever reads at the end stays there; who scrolled back does not move, and what is over is read from the top. */
  #keepingEnd(change) {
    const wasAtEnd = !this.#isRead && this.#isAtEnd();
    change();
    requestAnimationFrame(() =>
      requestAnimationFrame(() => (wasAtEnd ? this.#toEnd() : (this.follow.hidden = this.#isAtEnd()))),
    );
  }

  #asText() {
    return this.#turns
      .filter(Boolean)
      .map(({ role, content }) => `${role}: ${content}`)
      .join("\n\n");
  }

  #asJson() {
    return JSON.stringify(this.#detail?.record ?? { ...this.#detail, turns: this.#turns }, null, 2);
  }
}
