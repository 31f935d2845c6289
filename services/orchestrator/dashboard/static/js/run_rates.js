// How fast runs go, from what their totals were over the last minute.

import { get } from "./api.js";

const WINDOW_S = 60;
const SHORTEST_S = 1.5;

const remaining = (run) => Math.max(0, run.conversations - run.finished - run.dead - run.cancelled);

/** Remembers totals of runs and gives rates. */
export class RunRates {
  #points = new Map();

  /** A run's totals at a moment in seconds since the epoch. */
  add(id, time, { finished, utterances, generated_tokens }) {
    const points = this.#points.get(id) ?? [];
    this.#points.set(id, points);
    if (points.length && time <= points.at(-1).time) return;
    points.push({ time, finished, utterances, generated_tokens });
    while (points.length > 2 && points[1].time <= time - WINDOW_S) points.shift();
  }

  /** Take what `/v1/series` has kept for what was before. Its clock is the server's: its last sample counts as now. */
  prime(samples) {
    const shift = Date.now() / 1000 - (samples.at(-1)?.time ?? 0);
    const later = this.#points;
    this.#points = new Map();
    for (const { time, runs } of samples) {
      for (const [id, totals] of Object.entries(runs)) this.add(id, time + shift, totals);
    }
    for (const [id, points] of later) {
      for (const { time, ...totals } of points) this.add(id, time, totals);
    }
  }

  /** `{conversations_per_min, tokens_per_s, utterances_per_s, eta_s}` of a run; null where not known yet. */
  of(run) {
    const points = this.#points.get(run.id) ?? [];
    const [first, last] = [points[0], points.at(-1)];
    const seconds = last ? last.time - first.time : 0;
    if (seconds < SHORTEST_S)
      return { conversations_per_min: null, tokens_per_s: null, utterances_per_s: null, eta_s: null };
    const per_s = (name) => Math.max(0, last[name] - first[name]) / seconds;
    const finished_per_s = per_s("finished");
    return {
      conversations_per_min: finished_per_s * 60,
      tokens_per_s: per_s("generated_tokens"),
      utterances_per_s: per_s("utterances"),
      eta_s: finished_per_s > 0 ? remaining(run) / finished_per_s : null,
    };
  }
}

/** The API's samples of the last minute, as far as the two clocks agree. */
export async function recentSamples() {
  const { samples } = await get(`/v1/series?since=${Math.floor(Date.now() / 1000) - WINDOW_S}`);
  return samples;
}

/** A run of `GET /v1/runs` in the shape of the live events' summaries. */
export function summaryOf(run) {
  const { spec, ...rest } = run;
  return { ...rest, name: spec.name, conversations: spec.conversations };
}

export const isOver = (run) => run.state === "completed" || run.state === "cancelled";
