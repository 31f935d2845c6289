// Arithmetic of axes, free of the page.

/**
 * Ticks from 0 to at least `largest`, about `count` of them, at round steps (1, 2, 2.5, 5 × a power of ten); with
 * `isWhole` at whole numbers.
 */
export function ticks(largest, { count = 3, isWhole = false } = {}) {
  if (!(largest > 0)) return [0, 1];
  const rough = Math.max(largest / count, isWhole ? 1 : 0);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10]
    .map((factor) => factor * power)
    .find((size) => size >= rough * 0.999 && (!isWhole || Number.isInteger(size)));
  return Array.from({ length: Math.ceil(largest / step - 1e-9) + 1 }, (_, position) => position * step);
}

/** Steps of a time axis in seconds: the least of the usual ones that makes at most `most` parts of a span. */
export function timeStep(spanS, most = 6) {
  const usual = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600];
  return usual.find((step) => spanS / step <= most) ?? 7200;
}

/** Index of the sample nearest in time; samples are in the order of `time`. */
export function nearest(samples, time) {
  let [low, high] = [0, samples.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (samples[middle].time < time) low = middle + 1;
    else high = middle;
  }
  return low > 0 && time - samples[low - 1].time < samples[low].time - time ? low - 1 : low;
}

/** SVG path through points `[x, y]`; a null among them is a gap. A lone point becomes a short stroke. */
export function path(points) {
  let commands = "";
  let isDrawing = false;
  for (const point of points) {
    if (point === null) {
      isDrawing = false;
      continue;
    }
    const [x, y] = [point[0].toFixed(1), point[1].toFixed(1)];
    commands += isDrawing ? `L${x} ${y}` : `M${x} ${y}h.01`;
    isDrawing = true;
  }
  return commands;
}

/** Join neighbouring bins until there are at most `most`; `[label, count]`, labels become ranges. */
export function joined(bins, most) {
  const size = Math.ceil(bins.length / most);
  if (size <= 1) return bins;
  const groups = [];
  for (let start = 0; start < bins.length; start += size) {
    const group = bins.slice(start, start + size);
    const label = group.length > 1 ? `${group[0][0]}–${group.at(-1)[0]}` : group[0][0];
    groups.push([label, group.reduce((sum, [, count]) => sum + count, 0)]);
  }
  return groups;
}

/** Bins `[value, count]` and the empty ones between them; `next` gives the value after one. */
export function filled(bins, next) {
  if (!bins.length) return bins;
  const counts = new Map(bins);
  const last = bins.at(-1)[0];
  const all = [];
  for (let value = bins[0][0]; value <= last && all.length < 1000; value = next(value))
    all.push([value, counts.get(value) ?? 0]);
  return all;
}
