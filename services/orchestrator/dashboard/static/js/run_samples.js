// What a run's charts draw, made from the API's samples.

const SMOOTHED_S = 20;

/** Turns samples of `/v1/series` into flat points for charts; keeps what a rate over some seconds needs. */
export class RunSamples {
  #before = [];

  constructor(runId) {
    this.runId = runId;
  }

  /** One point: `{time, per_min, in_flight, queued, …_SIDE}`; null where nothing is known. */
  point({ time, runs, sides }) {
    const run = runs[this.runId] ?? null;
    const flat = { time, per_min: null, in_flight: run?.in_flight ?? null, queued: run?.queued ?? null };
    if (run) flat.per_min = this.#perMinute(time, run.finished);
    for (const side of ["simulator", "respondent"]) {
      for (const [name, value] of Object.entries(sides[side] ?? {})) flat[`${name}_${side}`] = value;
    }
    return flat;
  }

  #perMinute(time, finished) {
    this.#before.push({ time, finished });
    while (this.#before.length > 2 && this.#before[1].time <= time - SMOOTHED_S) this.#before.shift();
    const first = this.#before[0];
    return time > first.time ? (60 * Math.max(0, finished - first.finished)) / (time - first.time) : null;
  }
}
