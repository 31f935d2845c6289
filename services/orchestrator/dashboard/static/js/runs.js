// The list of runs: all of them once, the open ones kept up to date by events.

import { events, get } from "./api.js";
import { $, h, replace, setText } from "./dom.js";
import { duration, number, percent, rate, runName, stateBadge, time } from "./format.js";
import { RunControls } from "./run_controls.js";
import { EndingsBar, ProgressBar, whyPaused } from "./run_progress.js";
import { RunRates, isOver, recentSamples, summaryOf } from "./run_rates.js";

const rates = new RunRates();
const rows = new Map();

class Row {
  #bar = new ProgressBar();
  #endings = new EndingsBar();
  #state = h("td", { "data-label": "State" });
  #done = h("span", {});
  #texts = Object.fromEntries(["per_min", "tokens", "eta"].map((name) => [name, h("span", {})]));
  #controls;
  #shown = "";

  constructor(run) {
    this.#controls = new RunControls({
      named: true,
      onchanged: (changed) => this.update(summaryOf(changed)),
      onerror: showError,
    });
    const name = h("a", { href: `/runs/${run.id}`, "aria-label": `${runName(run)} (${run.id})` }, runName(run));
    const about = h(
      "div",
      { class: "meta" },
      run.name ? h("span", { class: "mono" }, run.id) : null,
      time(run.created_at),
    );
    this.element = h(
      "tr",
      {},
      h("td", { class: "runs__name" }, name, about),
      this.#state,
      h(
        "td",
        { class: "runs__progress", "data-label": "Progress" },
        this.#bar.element,
        h("div", { class: "meta" }, this.#done),
      ),
      h("td", { class: "num", "data-label": "Conversations" }, this.#texts.per_min),
      h("td", { class: "num", "data-label": "Tokens" }, this.#texts.tokens),
      h("td", { class: "num", "data-label": "Time left" }, this.#texts.eta),
      h("td", { class: "runs__endings", "data-label": "Endings" }, this.#endings.element),
      h("td", { class: "runs__controls" }, this.#controls.element),
    );
  }

  update(run) {
    this.#bar.update(run);
    this.#endings.update(run.terminations);
    this.#controls.update(run);
    const shown = JSON.stringify([run.state, run.pause]);
    if (shown !== this.#shown)
      replace(
        this.#state,
        stateBadge(run.state),
        run.pause ? h("div", { class: "runs__pause" }, whyPaused(run.pause)) : null,
      );
    this.#shown = shown;
    const done = run.finished + run.dead;
    const parts = [`${number(done)} of ${number(run.conversations)} (${percent(done / run.conversations)})`];
    if (run.dead) parts.push(`${number(run.dead)} dead`);
    setText(this.#done, parts.join(" · "));
    const now = rates.of(run);
    setText(this.#texts.per_min, isOver(run) ? "–" : rate(now.conversations_per_min, "/min"));
    setText(
      this.#texts.tokens,
      isOver(run) ? `${number(run.generated_tokens)} tokens` : rate(now.tokens_per_s, "tokens/s"),
    );
    setText(this.#texts.eta, isOver(run) || run.state !== "running" ? "–" : duration(now.eta_s));
  }
}

function showError(text) {
  setText($("#error"), text);
}

function update(run) {
  if (!rows.has(run.id)) {
    rows.set(run.id, new Row(run));
    $("#runs tbody").prepend(rows.get(run.id).element);
  }
  rows.get(run.id).update(run);
}

function showAny() {
  $("#runs").hidden = rows.size === 0;
  $("#none").hidden = rows.size > 0;
  setText($("#count"), rows.size ? `${number(rows.size)} in all` : "");
}

async function load() {
  const [{ runs }, samples] = await Promise.all([get("/v1/runs"), recentSamples().catch(() => [])]);
  rates.prime(samples);
  for (const run of runs.map(summaryOf).reverse()) update(run);
  showAny();
}

let isConnectedBefore = false;

load()
  .catch((error) => showError(error.message))
  .finally(() => {
    events(
      "/v1/live?turns=false",
      {
        runs: ({ runs }) => {
          const now = Date.now() / 1000;
          for (const run of [...runs].reverse()) {
            rates.add(run.id, now, run);
            update(run);
          }
          showAny();
        },
      },
      {
        onstate: (state) => {
          if (state !== "connected") return;
          if (isConnectedBefore)
            load().then(
              () => showError(""),
              (error) => showError(error.message),
            ); // what ended meanwhile is not in the events
          isConnectedBefore = true;
        },
      },
    );
  });
