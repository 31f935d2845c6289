// What a run has used of chat APIs, beside its budget and what was expected before it started.

import { get } from "./api.js";
import { $, h, replace, setText } from "./dom.js";
import { compact, decimal, number } from "./format.js";
import { isOver } from "./run_rates.js";

const ASKED_EVERY_MS = 5000;
const amounts = new Intl.NumberFormat(undefined, { maximumSignificantDigits: 4 });

/** The card of a run's page; hidden where the run asks engines alone. */
export class ApiUse {
  #isShown = false;
  #next = 0;
  #state = null;

  constructor(runId) {
    this.runId = runId;
  }

  /** With the run as `GET /v1/runs/{id}` gives it. */
  show(run) {
    const { simulator, respondent } = run.spec;
    this.#isShown = [simulator, respondent].some(({ apis }) => Object.keys(apis ?? {}).length > 0);
    $("#apis").hidden = !this.#isShown;
    if (!this.#isShown) return;
    replace($("#apis-rows"), Object.entries(run.apis).map(([side, use]) => row(side, use)));
    setText($("#apis-of"), told(run));
  }

  /** Ask again, from time to time and when the run's state changes. */
  async update({ state }) {
    if (!this.#isShown || (state === this.#state && (Date.now() < this.#next || isOver({ state })))) return;
    this.#state = state;
    this.#next = Date.now() + ASKED_EVERY_MS;
    this.show(await get(`/v1/runs/${this.runId}`));
  }
}

const row = (side, use) =>
  h(
    "tr",
    {},
    h("th", { scope: "row" }, side, h("small", {}, troubles(use))),
    h("td", { class: "num" }, number(use.requests)),
    h("td", { class: "num" }, `${compact(use.prompt_tokens)} + ${compact(use.generated_tokens)}`),
    h("td", { class: "num apis__wide" }, use.latency_50_s === null ? "–" : `${decimal(use.latency_50_s)} s`),
    h("td", { class: "num" }, amounts.format(use.cost)),
  );

function troubles({ failed, throttled, unpriced, estimated }) {
  const counts = [
    [failed - throttled, "failed"],
    [throttled, "refused with 429"],
    [unpriced, "answers of no known price"],
    [estimated, "answers whose tokens are a guess"],
  ];
  return counts
    .filter(([count]) => count > 0)
    .map(([count, what]) => `${number(count)} ${what}`)
    .join(", ");
}

function told({ budget, cost_estimate: expected }) {
  const currency = "Costs are in the currency of the operator's prices.";
  const limit = budget === null ? "No budget was given." : `The run pauses before it costs more than ${amounts.format(budget)}.`;
  if (expected === null) return `${currency} ${limit}`;
  const { low, likely, high } = expected;
  const range = `${amounts.format(low)} to ${amounts.format(high)}`;
  return `${currency} Expected: about ${amounts.format(likely)} (${range}). ${limit}`;
}
