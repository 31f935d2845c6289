// A run's page: the charts that move, and the histograms.

import { get } from "./api.js";
import { histogram, lineChart } from "./charts.js";
import { $, h } from "./dom.js";
import { number, percent, rate } from "./format.js";
import { RunSamples } from "./run_samples.js";
import { filled } from "./scales.js";

const HISTOGRAMS_EVERY_MS = 10_000;
const SHORT_S = 600;
const LONG_S = 3600;
const sides = (name) => [
  { name: `${name}_simulator`, label: "Simulator" },
  { name: `${name}_respondent`, label: "Respondent" },
];
const pair = (side) => [
  { name: `running_${side}`, label: "Running" },
  { name: `waiting_${side}`, label: "Waiting" },
];
const conversations = (value) => `${number(value)} conversations`;
const LINES = [
  { title: "Finished", unit: "conversations/min", series: [{ name: "per_min", label: "Finished" }] },
  {
    title: "In flight",
    unit: "conversations",
    format: conversations,
    isWhole: true,
    series: [{ name: "in_flight", label: "In flight" }],
  },
  {
    title: "Waiting for a worker",
    unit: "conversations",
    format: conversations,
    isWhole: true,
    series: [{ name: "queued", label: "Waiting" }],
  },
  {
    title: "Generated tokens, all runs",
    unit: "tokens/s",
    format: (value) => rate(value, "/s"),
    series: sides("tokens_per_s"),
    look: "sides",
  },
  {
    title: "Requests in the simulator's engines",
    unit: "requests",
    format: number,
    isWhole: true,
    series: pair("simulator"),
    look: "pair",
  },
  {
    title: "Requests in the respondent's engines",
    unit: "requests",
    format: number,
    isWhole: true,
    series: pair("respondent"),
    look: "pair",
  },
  {
    title: "KV cache in use",
    unit: "%",
    format: percent,
    tick: percent,
    max: 1,
    series: sides("kv_used"),
    look: "sides",
  },
  {
    title: "Prefix cache hits",
    unit: "%",
    format: percent,
    tick: percent,
    max: 1,
    series: sides("prefix_hit_ratio"),
    look: "sides",
  },
];
const HISTOGRAMS = [
  {
    key: "rounds",
    title: "Rounds",
    unit: "rounds",
    of: "conversation",
    next: (rounds) => rounds + 1,
    label: (value) => String(value),
  },
  {
    key: "user_tokens",
    title: "Length of the user's utterances",
    unit: "tokens",
    of: "utterance",
    look: "user",
    next: (upper) => 2 * upper,
    label: (value) => `≤ ${value}`,
  },
  {
    key: "assistant_tokens",
    title: "Length of the assistant's utterances",
    unit: "tokens",
    of: "utterance",
    look: "assistant",
    next: (upper) => 2 * upper,
    label: (value) => `≤ ${value}`,
  },
];

const place = (root, look) => {
  const container = h("div", { class: ["card", look && `chart--${look}`] });
  root.append(container);
  return container;
};

/** The line charts of a run, for the last ten minutes or the last hour. */
export class Lines {
  #samples = [];
  #flat;

  constructor(root, runId) {
    this.runId = runId;
    this.spanS = SHORT_S;
    this.#flat = new RunSamples(runId);
    this.charts = LINES.map((options) => lineChart(place(root, options.look), { ...options, span_s: this.spanS }));
  }

  /** What the API has kept of the span: at the start, after a lost connection, for another span. */
  async load() {
    const since = Math.floor(Date.now() / 1000) - this.spanS;
    const { samples } = await get(`/v1/series?run_id=${this.runId}&since=${since}`);
    const byTime = new Map([...this.#samples, ...samples].map((sample) => [sample.time, sample]));
    this.#samples = [...byTime.values()].sort((one, other) => one.time - other.time);
    this.#flat = new RunSamples(this.runId);
    const points = this.#samples.map((sample) => this.#flat.point(sample));
    for (const chart of this.charts) chart.span(this.spanS, points);
  }

  push(sample) {
    if (sample.time <= (this.#samples.at(-1)?.time ?? 0)) return;
    this.#samples.push(sample);
    while (this.#samples[0].time < sample.time - LONG_S) this.#samples.shift();
    const point = this.#flat.point(sample);
    for (const chart of this.charts) chart.push(point);
  }

  /** Show the last so many seconds. */
  span(spanS) {
    this.spanS = spanS;
    return this.load();
  }
}

/** The histograms of what a run has committed. */
export class Histograms {
  #committed = null;
  #askedMs = 0;

  /** `onfound` is given every answer. */
  constructor(root, runId, onfound) {
    this.path = `/v1/runs/${runId}/histograms`;
    this.onfound = onfound;
    this.charts = HISTOGRAMS.map((options) => [options, histogram(place(root, options.look), options)]);
  }

  /** Asks anew where more is committed, at most every ten seconds. */
  async update(run) {
    const isDue = run.committed !== this.#committed && Date.now() - this.#askedMs > HISTOGRAMS_EVERY_MS;
    if (!isDue) return;
    this.#committed = run.committed;
    this.#askedMs = Date.now();
    const found = await get(this.path);
    this.onfound(found);
    for (const [{ key, label, next }, chart] of this.charts)
      chart.set(filled(found[key], next).map(([bin, count]) => [label(bin), count]));
  }
}

/** Buttons that choose the charts' span. */
export function showSpan(lines) {
  const root = $("#span");
  for (const [label, spanS] of [
    ["10 min", SHORT_S],
    ["1 h", LONG_S],
  ]) {
    const press = (event) => {
      for (const button of root.children) button.setAttribute("aria-pressed", button === event.currentTarget);
      lines.span(spanS).catch(() => {}); // the stream tells of a lost connection, and loads again after it
    };
    root.append(
      h(
        "button",
        { class: "button button--small", type: "button", "aria-pressed": spanS === lines.spanS, onclick: press },
        label,
      ),
    );
  }
}
