// One run's page.

import { events, get } from "./api.js";
import { $, announce, copy, h, replace, setText } from "./dom.js";
import { compact, duration, number, percent, rate, runName, stateBadge, stateLabel, time } from "./format.js";
import { Histograms, Lines, showSpan } from "./run_charts.js";
import { ApiUse } from "./run_apis.js";
import { RunControls } from "./run_controls.js";
import { Dead, showEndings, showFaults } from "./run_details.js";
import { EndingsBar, ProgressBar, figures, whyPaused } from "./run_progress.js";
import { Realism } from "./run_realism.js";
import { RunRates, isOver, recentSamples, summaryOf } from "./run_rates.js";

const runId = $("#run").dataset.run;
const rates = new RunRates();
const bar = new ProgressBar();
const endings = new EndingsBar();
const dead = new Dead(runId);
const lines = new Lines($("#lines"), runId);
const histograms = new Histograms($("#histograms"), runId, ({ faults }) => showFaults(faults ?? {}));
const realism = new Realism();
const apiUse = new ApiUse(runId);
const controls = new RunControls({ onchanged: (run) => update(summaryOf(run)), onerror: showError });
const numbers = figures([
  ["Done", "done"],
  ["In flight", "in_flight"],
  ["In the dataset", "committed"],
  ["Dead", "dead"],
  ["Conversations", "per_min"],
  ["Tokens", "tokens"],
  ["Time left", "eta"],
  ["Utterances", "utterances"],
  ["Generated", "generated"],
]);
let shownState = null;

function showError(text) {
  setText($("#error"), text);
}

/** What failed is asked for again with the next event. */
const quietly = (promise) => promise.catch((error) => console.info(error.message));

function update(run) {
  bar.update(run);
  endings.update(run.terminations);
  controls.update(run);
  showEndings(run.terminations);
  showState(run);
  showNumbers(run);
  realism.update(run);
  quietly(dead.update(run));
  quietly(apiUse.update(run));
  quietly(histograms.update(run));
}

function showState(run) {
  const shown = JSON.stringify([run.state, run.pause]);
  if (shown === shownState) return;
  if (shownState !== null) announce(`The run is ${stateLabel(run.state)}`);
  shownState = shown;
  replace($("#state"), stateBadge(run.state));
  $("#pause").hidden = !run.pause;
  if (run.pause) setText($("#pause"), whyPaused(run.pause));
  $("#watch").hidden = isOver(run);
}

function showNumbers(run) {
  const done = run.finished + run.dead;
  const now = rates.of(run);
  const over = isOver(run);
  numbers.update({
    done: `${number(done)} of ${number(run.conversations)} (${percent(done / run.conversations)})`,
    in_flight: number(run.in_flight),
    committed: number(run.committed),
    dead: number(run.dead),
    per_min: over ? "–" : rate(now.conversations_per_min, "/min"),
    tokens: over ? "–" : rate(now.tokens_per_s, "tokens/s"),
    eta: run.state === "running" ? duration(now.eta_s) : "–",
    utterances: compact(run.utterances),
    generated: `${compact(run.generated_tokens)} tokens`,
  });
}

/** What does not change while the run goes on. */
function showRun(run) {
  const name = runName({ id: run.id, name: run.spec.name });
  setText($("#name"), name);
  document.title = `${name} · PlatoLM`;
  const { simulator, respondent } = run.spec;
  replace(
    $("#about"),
    h("span", { class: "mono" }, run.id),
    h("span", {}, `${simulator.profile} asks, ${respondent.profile} answers`),
    h("span", {}, "started ", time(run.created_at)),
  );
  setText($("#spec"), JSON.stringify(run.spec, null, 2));
  realism.begin(run.spec.limits.realism);
  apiUse.show(run);
  const later = Object.values(run.realism?.out_of_bounds ?? {});
  const warnings = run.warnings.filter((warning) => !later.includes(warning));
  replace(
    $("#warnings-list"),
    warnings.map((warning) => h("li", {}, warning)),
  );
  $("#warnings").hidden = warnings.length === 0;
  $("#content").hidden = false;
}

function follow() {
  events(
    `/v1/live?turns=false&run_id=${runId}`,
    {
      runs: ({ runs }) => {
        const run = runs.find(({ id }) => id === runId);
        if (!run) return;
        rates.add(run.id, Date.now() / 1000, run);
        update(run);
      },
      sample: (sample) => lines.push(sample),
    },
    {
      onstate: (state) => state === "connected" && quietly(lines.load()),
      onrefused: (error) => showError(error.message),
    },
  );
}

function showDownloads() {
  const marked = $("#marked").checked ? "&mark=good" : "";
  for (const link of document.querySelectorAll("[data-format]")) {
    link.href = `/v1/runs/${runId}/dataset?format=${link.dataset.format}${marked}`;
  }
}

async function start() {
  const [run, samples] = await Promise.all([get(`/v1/runs/${runId}`), recentSamples().catch(() => [])]);
  rates.prime(samples);
  showRun(run);
  update(summaryOf(run));
  showSpan(lines);
  follow();
}

$("#progress").append(bar.element, numbers.element, endings.element);
$("#controls").append(controls.element);
$("#copy-spec").addEventListener("click", (event) => copy($("#spec").textContent, event.currentTarget));
$("#marked").addEventListener("change", showDownloads);
showDownloads();
start().catch((error) =>
  showError(error.status === 404 ? `There is no run ${runId}. See Runs for those that exist.` : error.message),
);
