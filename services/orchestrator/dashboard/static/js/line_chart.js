// Lines over time.

import { HEIGHT, MARGIN, Chart } from "./chart.js";
import { frame, h, replace, setText, svg } from "./dom.js";
import { nearest, path, timeStep } from "./scales.js";

const GAP_S = 10;
const SHORTEST_SPAN_S = 60;
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const minutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

export class LineChart extends Chart {
  constructor(container, options) {
    super(container, options);
    this.series = options.series;
    this.spanS = options.span_s ?? 600;
    this.atLeast = options.max ?? 0;
    this.samples = [];
    this.values = this.series.map(({ label }, position) => {
      const value = h("span", { class: "chart__value" });
      const name = this.series.length > 1 ? [h("i", { class: `chart__key chart__key--${position}` }), label, " "] : [];
      this.legend.append(h("span", {}, ...name, value));
      return value;
    });
    if (options.tick) this.tick = options.tick;
  }

  get length() {
    return this.samples.length;
  }

  /** Add `{time, NAME: value|null, …}`; `time` in seconds since the epoch. */
  push(sample) {
    const last = this.samples.at(-1);
    if (last && sample.time <= last.time) return;
    this.samples.push(sample);
    while (this.samples[0].time < sample.time - this.spanS) {
      this.samples.shift();
      if (this.selected) this.selected -= 1;
    }
    frame(this.draw);
  }

  /** Begin anew with these samples. */
  set(samples) {
    const end = samples.at(-1)?.time ?? 0;
    this.samples = samples.filter((sample) => sample.time >= end - this.spanS);
    this.selected = null;
    frame(this.draw);
  }

  /** Show another span, in seconds. */
  span(spanS, samples) {
    this.spanS = spanS;
    this.set(samples);
  }

  /** A young series fills the width; later the last `spanS` seconds do. */
  get shownS() {
    const known = this.length ? this.samples.at(-1).time - this.samples[0].time : 0;
    return Math.max(SHORTEST_SPAN_S, Math.min(this.spanS, known));
  }

  get start() {
    return (this.samples.at(-1)?.time ?? 0) - this.shownS;
  }

  x(time) {
    return MARGIN.left + (this.innerWidth * (time - this.start)) / this.shownS;
  }

  at(offsetX) {
    if (!this.length) return null;
    return nearest(this.samples, this.start + ((offsetX - MARGIN.left) / this.innerWidth) * this.shownS);
  }

  drawNow() {
    const known = this.samples.flatMap((sample) => this.series.map(({ name }) => sample[name])).filter(Number.isFinite);
    this.showEmpty(known.length === 0);
    this.write();
    if (!this.width) return;
    const { lines, largest } = this.grid(Math.max(this.atLeast, ...known, 0));
    const drawn = known.length ? [this.timeAxis(), this.series.map((_, position) => this.line(position, largest))] : [];
    replace(this.drawing, lines, drawn);
    replace(this.cursor, this.marks(largest));
    if (known.length) this.summarise(this.summary());
  }

  line(position, largest) {
    const { name } = this.series[position];
    const points = [];
    let before = null;
    for (const sample of this.samples) {
      const value = sample[name];
      if (before !== null && sample.time - before > GAP_S) points.push(null);
      points.push(Number.isFinite(value) ? [this.x(sample.time), this.y(value, largest)] : null);
      before = sample.time;
    }
    return svg("path", { class: `chart__line chart__line--${position}`, d: path(points) });
  }

  timeAxis() {
    const step = timeStep(this.shownS, Math.max(2, Math.floor(this.innerWidth / 80)));
    const labels = [];
    const format = step < 60 ? clock : minutes;
    for (let time = Math.ceil(this.start / step) * step; time <= this.start + this.shownS; time += step) {
      const x = this.x(time);
      if (x < MARGIN.left + 14 || x > this.width - 24) continue;
      const label = format.format(new Date(time * 1000));
      labels.push(svg("text", { class: "chart__tick", x, y: HEIGHT - 5, "text-anchor": "middle" }, label));
    }
    return labels;
  }

  marks(largest) {
    const sample = this.samples[this.selected];
    if (!sample) return [];
    const x = this.x(sample.time);
    const dots = this.series.map(({ name }, position) =>
      Number.isFinite(sample[name])
        ? svg("circle", { class: `chart__dot chart__dot--${position}`, cx: x, cy: this.y(sample[name], largest), r: 3 })
        : null,
    );
    const bottom = HEIGHT - MARGIN.bottom;
    return [svg("line", { class: "chart__cursor", x1: x, x2: x, y1: MARGIN.top, y2: bottom }), ...dots];
  }

  /** The selected sample's values, or the last one's. */
  write() {
    const sample = this.samples[this.selected] ?? this.samples.at(-1) ?? {};
    this.series.forEach(({ name }, position) => setText(this.values[position], this.format(sample[name])));
    setText(this.readout, this.samples[this.selected] ? clock.format(new Date(sample.time * 1000)) : "");
  }

  summary() {
    const parts = this.series.map(({ name, label }) => {
      const values = this.samples.map((sample) => sample[name]).filter(Number.isFinite);
      if (!values.length) return `${label} unknown`;
      const [last, low, high] = [values.at(-1), Math.min(...values), Math.max(...values)].map(this.format);
      return `${label} now ${last}, between ${low} and ${high}`;
    });
    return `${this.title}: ${parts.join("; ")}. Arrow keys read single values.`;
  }
}
