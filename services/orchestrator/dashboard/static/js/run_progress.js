// A run's progress bar and its endings, made once and then only changed.

import { h, setText } from "./dom.js";
import { ENDINGS, endingLabel, number, percent, stateLabel } from "./format.js";

const PARTS = ["finished", "in_flight", "dead"];

/** Bar of what is finished, in flight and dead; `update(run)`. */
export class ProgressBar {
  #parts = PARTS.map((part) => h("i", { "data-part": part }));

  constructor() {
    this.element = h("div", { class: "progress", role: "progressbar", "aria-valuemin": 0 }, this.#parts);
  }

  update(run) {
    const done = run.finished + run.dead;
    PARTS.forEach((part, position) => {
      this.#parts[position].style.width = `${((100 * run[part]) / run.conversations).toFixed(2)}%`;
    });
    this.element.setAttribute("aria-valuemax", run.conversations);
    this.element.setAttribute("aria-valuenow", done);
    this.element.setAttribute("aria-label", `Progress of ${run.name ?? run.id}`);
    this.element.setAttribute("aria-valuetext", `${number(done)} of ${number(run.conversations)} conversations`);
    this.element.title = PARTS.map((part) => `${number(run[part])} ${stateLabel(part)}`).join(", ");
  }
}

/** Bar of the endings' shares with a legend below; `update(terminations)`. */
export class EndingsBar {
  #bar = h("div", { class: "endings__bar", "aria-hidden": "true" });
  #legend = h("ul", { class: "endings__legend" });
  #shown = "";

  constructor() {
    this.element = h("div", { class: "endings" }, this.#bar, this.#legend);
  }

  update(terminations) {
    const shown = JSON.stringify(terminations);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const counts = Object.entries(terminations)
      .filter(([, count]) => count > 0)
      .sort((a, b) => b[1] - a[1]);
    const total = counts.reduce((sum, [, count]) => sum + count, 0);
    this.#bar.replaceChildren(...counts.map(([reason, count]) => segment(reason, count / total)));
    this.#legend.replaceChildren(...counts.map(([reason, count]) => entry(reason, count, total)));
  }
}

function segment(reason, share) {
  const part = h("i", { class: `ending--${reason}` });
  part.style.width = `${share * 100}%`;
  return part;
}

function entry(reason, count, total) {
  const title = `${ENDINGS[reason]?.explanation ?? ""} ${percent(count / total)}`.trim();
  return h(
    "li",
    { title },
    h("i", { class: `ending--${reason}`, "aria-hidden": "true" }),
    `${endingLabel(reason)} ${number(count)}`,
  );
}

const RESUMES_BY_ITSELF = ["engines", "writer"];

/** Why a run is paused, and what ends it. */
export function whyPaused({ by, reason }) {
  if (by === "user") return "Paused on request. Resume it to go on.";
  const end = RESUMES_BY_ITSELF.includes(by)
    ? "It goes on by itself as soon as that is over."
    : "Resume it when that is mended.";
  return `Paused: ${reason.replace(/[.\s]+$/, "")}. ${end}`;
}

/** `dl` of figures, changed in place: `figures([[label, key]])` → `{element, update({key: text})}`. */
export function figures(entries, modifier = "") {
  const values = new Map(entries.map(([label, key]) => [key, { label, value: h("dd", {}, "–") }]));
  const groups = [...values.values()].map(({ label, value }) => h("div", {}, h("dt", {}, label), value));
  return {
    element: h("dl", { class: ["figures", modifier] }, groups),
    update: (texts) => Object.entries(texts).forEach(([key, text]) => setText(values.get(key).value, text)),
  };
}
