// Bars of a distribution.

import { HEIGHT, MARGIN, Chart } from "./chart.js";
import { frame, replace, setText, svg } from "./dom.js";
import { number, plural } from "./format.js";
import { joined } from "./scales.js";

export class Histogram extends Chart {
  constructor(container, options) {
    super(container, { isWhole: true, ...options });
    this.of = options.of ?? "conversation";
    this.set(options.bins ?? []);
  }

  get length() {
    return this.bins.length;
  }

  /** Show these bins: `[label, count]`. */
  set(bins) {
    this.given = bins;
    frame(this.draw);
    this.bins = bins;
  }

  get step() {
    return this.innerWidth / this.length;
  }

  at(offsetX) {
    const position = Math.floor((offsetX - MARGIN.left) / this.step);
    return position >= 0 && position < this.length ? position : null;
  }

  drawNow() {
    this.bins = joined(this.given, Math.max(8, Math.floor(this.innerWidth / 10)));
    this.showEmpty(this.length === 0);
    this.write();
    if (!this.width || !this.length) return replace(this.drawing);
    const { lines, largest } = this.grid(Math.max(...this.bins.map(([, count]) => count)));
    replace(
      this.drawing,
      lines,
      this.bins.map((_, position) => this.bar(position, largest)),
      this.labels(),
    );
    this.summarise(this.summary());
  }

  bar(position, largest) {
    const y = this.y(this.bins[position][1], largest);
    const gap = Math.min(2, this.step / 5);
    const height = HEIGHT - MARGIN.bottom - y;
    const selected = position === this.selected && "chart__bar--selected";
    const x = MARGIN.left + position * this.step + gap / 2;
    return svg("rect", { class: ["chart__bar", selected], x, y, width: Math.max(1, this.step - gap), height, rx: 1 });
  }

  labels() {
    const widest = Math.max(...this.bins.map(([label]) => String(label).length)) * 6.5 + 10;
    const every = Math.ceil(widest / this.step);
    return this.bins.map(([label], position) =>
      position % every === 0
        ? svg(
            "text",
            {
              class: "chart__tick",
              x: MARGIN.left + (position + 0.5) * this.step,
              y: HEIGHT - 5,
              "text-anchor": "middle",
            },
            label,
          )
        : null,
    );
  }

  write() {
    const bin = this.bins[this.selected];
    setText(this.readout, bin ? `${bin[0]} ${this.unit}: ${plural(bin[1], this.of)}` : "");
    const total = this.bins.reduce((sum, [, count]) => sum + count, 0);
    setText(this.legend, total ? plural(total, this.of) : "");
  }

  summary() {
    const most = this.bins.reduce((best, bin) => (bin[1] > best[1] ? bin : best));
    const total = this.bins.reduce((sum, [, count]) => sum + count, 0);
    const peak = `most often ${most[0]} ${this.unit}, ${number(most[1])} times`;
    return `${this.title}: ${plural(total, this.of)}; ${peak}. Arrow keys read single bars.`;
  }
}
