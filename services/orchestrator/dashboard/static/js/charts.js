// Charts as pages ask for them.

import { Histogram } from "./histogram.js";
import { LineChart } from "./line_chart.js";

/**
 * A line for each of `series: [{name, label}]` over the last `span_s` seconds; `max` is the least end of the axis,
 * `isWhole` keeps its ticks whole, `format` writes a value with its unit (default: number and `unit`). Gives
 * `push(sample)`, `set(samples)`, `span(span_s, samples)`; samples are `{time, NAME: value|null, …}`.
 */
export const lineChart = (container, options) => new LineChart(container, options);

/** Bars for `bins: [[label, count], …]`, counts of `of`, labels in `unit`. Gives `set(bins)`. */
export const histogram = (container, options) => new Histogram(container, options);
