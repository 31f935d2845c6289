/**
 * A list of any length of which only what is near the screen is in the page.
 *
 * Records come by pages with cursors. A page that scrolled away leaves its height behind and is put back when it comes
 * near again, from memory or, far away, asked for once more by its cursor.
 */

import { frame, h, replace } from "./dom.js";

const MARGIN_PX = 800;
/** What the header takes of the screen. */
const ABOVE_PX = 64;
const KEPT_PAGES = 50;
/** Browsers lay nothing out beyond some 33 million pixels; long before, the oldest pages are let go. */
const LONGEST_PX = 12_000_000;

export class RecordWindow {
  #list;
  #fetch;
  #row;
  #onchange;
  #above = h("div", { class: "records__space" });
  #below = h("div", { class: "records__space" });
  #pages = [];
  #cursor = null;
  #isSettling = false;
  #asking = null;
  #abort = new AbortController();
  #observer;
  #settle = () => this.#settleSoon();

  /** What a list that walks on tells: `searched` and `total` records, `found` ones, and how it stands. */
  progress = { searched: 0, total: 0, found: 0, isBusy: false, isDone: false, isStopped: false, error: null };

  /**
   * `fetch(cursor, signal)` gives a RecordPage, `row(record)` its node, `onchange(progress)` hears of each step.
   * The list begins with cursor null.
   */
  constructor(list, { fetch, row, onchange }) {
    this.#list = list;
    this.#fetch = fetch;
    this.#row = row;
    this.#onchange = onchange;
    replace(list, this.#above, this.#below);
    this.#observer = new IntersectionObserver(this.#settle, { rootMargin: `${MARGIN_PX}px` });
    for (const space of [this.#above, this.#below]) this.#observer.observe(space);
    addEventListener("scroll", this.#settle, { passive: true });
    addEventListener("resize", this.#settle);
    this.#settleSoon();
  }

  close() {
    this.#abort.abort();
    this.#observer.disconnect();
    removeEventListener("scroll", this.#settle);
    removeEventListener("resize", this.#settle);
  }

  /** Ask for nothing more until `goOn`. */
  stop() {
    this.#abort.abort();
    this.#tell({ isStopped: true, isBusy: false });
  }

  /**
   * Bring the page behind the one at the screen's lower edge to its upper edge; where it is not there yet it is asked
   * for, after a stop or an error too. Gives its first link, null where nothing came.
   */
  async goOn() {
    if (!this.progress.isBusy) this.#abort = new AbortController();
    this.#tell({ isStopped: false, error: null });
    const number = this.#pageAtEdge() + 1;
    if (number >= this.#pages.length) await this.#more(true);
    const page = this.#pages[number];
    if (page === undefined) return null;
    this.#render();
    const offset = this.#heightOf(0, number);
    scrollTo({ top: this.#list.getBoundingClientRect().top + scrollY + offset - ABOVE_PX, behavior: "instant" });
    this.#render();
    this.#settleSoon();
    return page.element?.querySelector("a") ?? null;
  }

  /** The records in memory around the one with `id`, in order. */
  around(id) {
    const at = this.#pages.findIndex((page) => page.records?.some((record) => record.id === id));
    if (at < 0) return [];
    let [first, last] = [at, at];
    while (this.#pages[first - 1]?.records) first -= 1;
    while (this.#pages[last + 1]?.records) last += 1;
    return this.#pages.slice(first, last + 1).flatMap((page) => page.records);
  }

  #settleSoon() {
    frame(this.#settleNow);
  }

  #settleNow = async () => {
    if (this.#isSettling) return;
    this.#isSettling = true;
    try {
      while (await this.#step());
    } finally {
      this.#isSettling = false;
    }
  };

  /** Draw what is near the screen; true where the list must go on before that is all there. */
  async #step() {
    this.#render();
    if (await this.#refill()) return true;
    const { bottom } = this.#view();
    const { progress } = this;
    const waits = progress.isBusy || progress.isDone || progress.isStopped || progress.error;
    if (waits || bottom < this.#height()) return false;
    return this.#more();
  }

  /** Ask for the next page, once at a time; whether an answer came. `isAsked`: until a record is found. */
  #more(isAsked = false) {
    this.#asking ??= this.#next(isAsked).finally(() => (this.#asking = null));
    return this.#asking;
  }

  async #next(isAsked) {
    const { signal } = this.#abort;
    const cursor = this.#cursor;
    this.#tell({ isBusy: true });
    const page = await this.#ask(cursor);
    if (page === null || signal.aborted) return false;
    if (page.records.length > 0) this.#add(cursor, page.records);
    this.#cursor = page.next_cursor;
    const found = this.progress.found + page.records.length;
    const isDone = page.next_cursor === null;
    this.#tell({ searched: page.searched, total: page.total, found, isDone, isBusy: false });
    return isAsked && page.records.length === 0 && !isDone ? this.#next(true) : true;
  }

  #add(cursor, records) {
    this.#pages.push({ cursor, records, count: records.length, height: 0, element: null, isFilled: false });
    this.#letGo();
  }

  async #ask(cursor) {
    const { signal } = this.#abort;
    try {
      return await this.#fetch(cursor, signal);
    } catch (error) {
      if (!signal.aborted) this.#tell({ error, isBusy: false });
      return null;
    }
  }

  /** Ask again for a page near the screen that was forgotten; whether one was. */
  async #refill() {
    const [first, last] = this.#near();
    const missing = this.#pages.slice(first, last + 1).find((page) => page.records === null);
    if (missing === undefined || this.progress.error || this.progress.isStopped) return false;
    const answer = await this.#ask(missing.cursor);
    if (answer === null) return false;
    missing.records = answer.records.slice(0, missing.count);
    return true;
  }

  #render() {
    const [first, last] = this.#near();
    this.#pages.forEach((page, index) => {
      if (index < first || index > last) this.#takeOut(page);
      if (index < first - KEPT_PAGES || index > last + KEPT_PAGES) page.records = null;
    });
    for (let index = last; index >= first; index -= 1) this.#putIn(this.#pages[index], this.#pages[index + 1]);
    this.#above.style.height = `${this.#heightOf(0, first)}px`;
    this.#below.style.height = `${this.#heightOf(last + 1, this.#pages.length)}px`;
    for (const page of this.#pages.slice(first, last + 1)) this.#measure(page);
  }

  /** A page that is asked for again holds its place until it is there. */
  #putIn(page, next) {
    const isFilled = page.records !== null;
    if (page.element !== null && page.isFilled === isFilled) return;
    this.#takeOut(page);
    page.isFilled = isFilled;
    page.element = isFilled ? this.#rows(page) : h("div", { class: "records__space" });
    if (!isFilled) page.element.style.height = `${page.height}px`;
    this.#list.insertBefore(page.element, next?.element ?? this.#below);
  }

  #rows(page) {
    return h("ul", { class: "records__page" }, page.records.map((record) => h("li", {}, this.#row(record))));
  }

  #takeOut(page) {
    page.element?.remove();
    page.element = null;
  }

  #measure(page) {
    if (page.element !== null) page.height = page.element.getBoundingClientRect().height;
  }

  /** Positions of the first and the last page near the screen; a new page, not drawn yet, is near. */
  #near() {
    const { top, bottom } = this.#view();
    let [first, last, offset] = [0, -1, 0];
    this.#pages.forEach((page, index) => {
      if (offset + page.height < top) first = index + 1;
      if (offset <= bottom) last = index;
      offset += page.height;
    });
    first = Math.max(0, Math.min(first, this.#pages.length - 1));
    return [first, Math.max(last, first - (this.#pages.length ? 0 : 1))];
  }

  /** Position of the page at the screen's lower edge, -1 where there is none. */
  #pageAtEdge() {
    const edge = innerHeight - this.#list.getBoundingClientRect().top;
    let offset = 0;
    const at = this.#pages.findIndex((page) => (offset += page.height) >= edge);
    return at < 0 ? this.#pages.length - 1 : at;
  }

  /** The screen and a margin, in pixels from the list's top. */
  #view() {
    const { top } = this.#list.getBoundingClientRect();
    return { top: -top - MARGIN_PX, bottom: -top + innerHeight + MARGIN_PX };
  }

  #height() {
    return this.#heightOf(0, this.#pages.length);
  }

  #heightOf(from, to) {
    let height = 0;
    for (let index = from; index < to; index += 1) height += this.#pages[index].height;
    return height;
  }

  #letGo() {
    if (this.#height() < LONGEST_PX) return;
    let removed = 0;
    while (removed < LONGEST_PX / 2) {
      const page = this.#pages.shift();
      this.#takeOut(page);
      removed += page.height;
    }
    this.#render();
    scrollBy({ top: -removed, behavior: "instant" });
  }

  #tell(change) {
    Object.assign(this.progress, change);
    this.#onchange(this.progress);
  }
}
