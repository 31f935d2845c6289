// The live wall's page: its streams, its runs, what is opened; the address holds `run` and `conversation`.

import { events } from "./api.js";
import { $, h, replace, setText } from "./dom.js";
import { number, plural, rate, runName, stateBadge } from "./format.js";
import { Opened } from "./opened.js";
import { RunControls } from "./run_controls.js";
import { ProgressBar, whyPaused } from "./run_progress.js";
import { RunRates, isOver, recentSamples, summaryOf } from "./run_rates.js";
import { Wall } from "./wall.js";
import { fill } from "./wall_filling.js";

const REFILL_EVERY_MS = 30_000;

const names = new Map();
const rates = new RunRates();
const rows = new Map();
const wall = new Wall($("#wall"), $("#new"), (id) => names.get(id) ?? id);
const opened = new Opened($("#opened"), () => go({ conversation: null }));
let runs = [];
let workers = null;
let filledMs = 0;
let isFilled = false; // until then cards are on their way, not missing
let stream = null;

const query = () => new URLSearchParams(location.search);

/** Change the address; what is shown follows it. */
function go(changes) {
  const wanted = query();
  for (const [name, value] of Object.entries(changes)) value ? wanted.set(name, value) : wanted.delete(name);
  history.pushState(null, "", wanted.size ? `/?${wanted}` : "/");
  show();
}

function show() {
  const conversation = query().get("conversation");
  $("#live").classList.toggle("live--opened", Boolean(conversation));
  if (conversation) opened.open(conversation);
  else if (opened.id) opened.close();
}

function follow() {
  const run = query().get("run");
  stream?.close();
  stream = events(
    run ? `/v1/live?run_id=${encodeURIComponent(run)}` : "/v1/live",
    {
      runs: (event) => showRuns(event.runs),
      turn: (event) => wall.turn(event),
      ended: (event) => wall.ended(event),
      sample: (sample) => (workers = sample.workers),
      dropped: () => (filledMs = 0),
    },
    { onstate: (state) => state === "connected" && (filledMs = 0), onrefused: refused },
  );
}

function refused(error) {
  const text = error.status === 404 ? `There is no run ${query().get("run")}.` : error.message;
  replace($("#notices"), h("p", { class: "error", role: "alert" }, text, " ", h("a", { href: "/" }, "Show all runs")));
}

function showRuns(summaries) {
  runs = summaries;
  const now = Date.now() / 1000;
  for (const run of runs) {
    names.set(run.id, runName(run));
    rates.add(run.id, now, run);
  }
  wall.retain(new Set(runs.map((run) => run.id)));
  showStrip();
  showFilter();
  showState();
  if (filledMs === 0 || (Date.now() - filledMs > REFILL_EVERY_MS && wall.hasQuiet(REFILL_EVERY_MS))) {
    filledMs = Date.now();
    fill(wall, runs).then(() => {
      isFilled = true;
      showState();
    });
  }
}

/** A line for each run, changed in place. */
function showStrip() {
  for (const [id, row] of rows) {
    if (runs.some((run) => run.id === id)) continue;
    row.element.remove();
    rows.delete(id);
  }
  for (const run of runs) {
    if (!rows.has(run.id)) rows.set(run.id, new Row(run));
    rows.get(run.id).update(run);
  }
  const wanted = runs.map((run) => rows.get(run.id).element);
  const strip = $("#strip");
  if (wanted.some((element, position) => strip.children[position] !== element)) strip.replaceChildren(...wanted);
}

class Row {
  #state = h("span", {});
  #figures = h("span", { class: "strip__figures" });
  #reason = h("span", { class: "strip__reason" });
  #bar = new ProgressBar();
  #controls = new RunControls({
    named: true,
    onchanged: (run) => this.update(summaryOf(run)),
    onerror: (text) => setText($("#error"), text),
  });
  #shown = null;

  constructor(run) {
    const name = h("a", { class: "strip__name", href: `/runs/${run.id}` }, runName(run));
    this.element = h(
      "li",
      { class: "strip__run" },
      name,
      this.#state,
      this.#bar.element,
      this.#figures,
      this.#controls.element,
      this.#reason,
    );
  }

  update(run) {
    if (run.state !== this.#shown) replace(this.#state, stateBadge(run.state));
    this.#shown = run.state;
    this.#bar.update(run);
    this.#controls.update(run);
    const { conversations_per_min, tokens_per_s } = rates.of(run);
    const done = `${number(run.finished)} of ${number(run.conversations)}`;
    const speed = isOver(run)
      ? []
      : [`${number(run.in_flight)} in flight`, rate(conversations_per_min, "conv/min"), rate(tokens_per_s, "tokens/s")];
    setText(this.#figures, [done, ...speed].join(" · "));
    setText(this.#reason, run.pause ? whyPaused(run.pause) : "");
    this.#reason.hidden = !run.pause;
  }
}

function showFilter() {
  const select = $("#run");
  const chosen = query().get("run") ?? "";
  const wanted = ["", ...new Set([...names.keys(), chosen].filter(Boolean))];
  $("#filter").hidden = wanted.length < 3 && !chosen;
  if (
    select.options.length === wanted.length &&
    [...select.options].every((option, position) => option.value === wanted[position])
  )
    return;
  replace(
    select,
    wanted.map((id) => h("option", { value: id }, id ? (names.get(id) ?? id) : "All runs")),
  );
  select.value = chosen;
}

function showState() {
  const open = runs.filter((run) => !isOver(run));
  const inFlight = open.reduce((sum, run) => sum + run.in_flight, 0);
  const others = isFilled ? Math.max(0, inFlight - wall.numShown) : 0;
  setText($("#count"), inFlight ? plural(inFlight, "conversation") + " in flight" : "");
  setText(
    $("#others"),
    others ? `and ${plural(others, "more", "more")} in flight that ${others === 1 ? "has" : "have"} no card` : "",
  );
  const isBare = wall.numShown === 0;
  $("#none").hidden = !(isBare && open.length === 0);
  $("#waiting").hidden = !(isBare && open.length > 0);
  if (!$("#waiting").hidden) setText($("#waiting-why"), whyNothing(open));
}

function whyNothing(open) {
  if (open.every((run) => run.state === "paused")) return "Every open run is paused. Resume one above.";
  if (workers === 0) return "No worker is running. Start one: platolm up, or docker compose up worker.";
  return "The first utterances are being made.";
}

$("#run").addEventListener("change", (event) => {
  go({ run: event.target.value });
  wall.clear();
  isFilled = false;
  names.clear();
  follow();
});
$("#wall").addEventListener("click", (event) => {
  const card = event.target.closest("[data-conversation]");
  if (!card || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  go({ conversation: card.dataset.conversation });
});
addEventListener("popstate", show);

show();
follow();
recentSamples().then(
  (samples) => rates.prime(samples),
  () => {},
); // without them rates begin now
