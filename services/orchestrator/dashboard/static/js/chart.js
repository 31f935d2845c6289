// What both kinds of charts share. They are SVG, coloured by the theme's variables.
//
// Each says its contents in a sentence for screen readers, and reads out single values under the pointer or, with the
// focus on it, by the arrow keys.

import { frame, h, replace, svg } from "./dom.js";
import { compact, rate } from "./format.js";
import { ticks } from "./scales.js";

export const HEIGHT = 132;
export const MARGIN = { top: 8, right: 8, bottom: 20, left: 44 };
const SUMMARY_EVERY_MS = 10_000;

/** The frame, its size, the readout. */
export class Chart {
  constructor(container, { title, unit, format, isWhole = false }) {
    this.title = title;
    this.unit = unit;
    this.isWhole = isWhole;
    this.format = format ?? ((value) => rate(value, unit));
    this.width = 0;
    this.selected = null;
    this.drawing = svg("g");
    this.cursor = svg("g");
    this.plot = svg(
      "svg",
      {
        class: "chart__plot",
        height: HEIGHT,
        role: "img",
        tabindex: 0,
        onpointermove: (event) => this.select(this.at(event.offsetX)),
        onpointerleave: () => this.select(null),
        onblur: () => this.select(null),
        onkeydown: (event) => this.onkey(event),
      },
      this.drawing,
      this.cursor,
    );
    this.readout = h("output", { class: "chart__readout" });
    this.legend = h("div", { class: "chart__legend" });
    this.none = h("p", { class: "chart__none" }, "No data yet");
    const heading = h("div", { class: "chart__title" }, h("b", {}, title), this.readout);
    replace(
      container,
      h("figure", { class: "chart" }, h("figcaption", {}, heading, this.legend), this.plot, this.none),
    );
    this.draw = () => this.drawNow();
    new ResizeObserver(([entry]) => {
      this.width = entry.contentRect.width;
      frame(this.draw);
    }).observe(this.plot);
  }

  get innerWidth() {
    return Math.max(10, this.width - MARGIN.left - MARGIN.right);
  }

  get innerHeight() {
    return HEIGHT - MARGIN.top - MARGIN.bottom;
  }

  y(value, largest) {
    return MARGIN.top + this.innerHeight * (1 - value / largest);
  }

  select(position) {
    this.selected = position;
    frame(this.draw);
  }

  onkey(event) {
    const last = this.length - 1;
    const now = this.selected ?? last;
    const moves = { ArrowLeft: now - 1, ArrowRight: now + 1, Home: 0, End: last, Escape: null };
    if (!(event.key in moves) || last < 0) return;
    event.preventDefault();
    const wanted = moves[event.key];
    this.select(wanted === null ? null : Math.max(0, Math.min(last, wanted)));
  }

  /** Horizontal lines at round values; gives the largest tick. */
  grid(largest) {
    const values = ticks(largest, { isWhole: this.isWhole });
    const lines = values.map((value) => {
      const y = this.y(value, values.at(-1));
      return [
        svg("line", { class: "chart__grid", x1: MARGIN.left, x2: this.width - MARGIN.right, y1: y, y2: y }),
        svg("text", { class: "chart__tick", x: MARGIN.left - 6, y: y + 3.5, "text-anchor": "end" }, this.tick(value)),
      ];
    });
    return { lines: lines.flat(), largest: values.at(-1) };
  }

  tick(value) {
    return compact(value);
  }

  summarise(summary) {
    const due = (this.summaryDue ??= 0);
    if (Date.now() < due && this.plot.hasAttribute("aria-label")) return;
    this.summaryDue = Date.now() + SUMMARY_EVERY_MS;
    this.plot.setAttribute("aria-label", summary);
  }

  showEmpty(isEmpty) {
    this.none.hidden = !isEmpty;
    this.plot.classList.toggle("chart__plot--empty", isEmpty);
    if (isEmpty) this.plot.setAttribute("aria-label", `${this.title}: no data yet`);
  }
}
