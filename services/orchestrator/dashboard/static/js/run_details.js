// A run's page: endings in a table, dead conversations, the spec.

import { get } from "./api.js";
import { $, h, replace, setText } from "./dom.js";
import { ENDINGS, endingBadge, faultBadge, faultExplanation, number, percent, plural } from "./format.js";

const SHOWN_DEAD = 200;

/** How many conversations ended in which way, and what that means. */
export function showEndings(terminations) {
  const counts = Object.entries(terminations)
    .filter(([, count]) => count)
    .sort((a, b) => b[1] - a[1]);
  const total = counts.reduce((sum, [, count]) => sum + count, 0);
  const rows = counts.map(([reason, count]) =>
    h(
      "tr",
      {},
      h("td", {}, endingBadge(reason), h("small", {}, ENDINGS[reason]?.explanation)),
      h("td", { class: "num" }, number(count)),
      h("td", { class: "num" }, percent(count / total)),
    ),
  );
  replace($("#endings-table"), rows);
  $("#endings-none").hidden = total > 0;
}

/** What guardrails found in the dataset's utterances; hidden where they found nothing. */
export function showFaults(faults) {
  const rows = Object.entries(faults)
    .sort((a, b) => b[1] - a[1])
    .map(([fault, count]) =>
      h(
        "tr",
        {},
        h("td", {}, faultBadge(fault), h("small", {}, faultExplanation(fault))),
        h("td", { class: "num" }, number(count)),
      ),
    );
  replace($("#faults-table"), rows);
  $("#faults").hidden = rows.length === 0;
}

/** The dead conversations with their errors; asked for where their number changed. */
export class Dead {
  #shown = 0;

  constructor(runId) {
    this.runId = runId;
  }

  async update(run) {
    if (run.dead === this.#shown) return;
    $("#dead").hidden = run.dead === 0;
    setText($("#dead-count"), plural(run.dead, "dead conversation"));
    const { dead } = run.dead ? await get(`/v1/runs/${this.runId}/dead`) : { dead: [] };
    this.#shown = run.dead;
    replace($("#dead-rows"), dead.slice(0, SHOWN_DEAD).map(row));
    const more = dead.length - SHOWN_DEAD;
    setText($("#dead-more"), more > 0 ? `and ${number(more)} more at /v1/runs/${this.runId}/dead` : "");
  }
}

const row = ({ id, index, attempts, error }) =>
  h(
    "tr",
    {},
    h("td", {}, h("a", { href: `/conversations/${id}`, "aria-label": id }, `#${number(index)}`)),
    h("td", { class: "nowrap" }, plural(attempts, "attempt")),
    h("td", {}, error),
  );
