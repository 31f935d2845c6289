// The buttons that steer a run.

import { post } from "./api.js";
import { confirmed } from "./confirm.js";
import { $, announce, h } from "./dom.js";
import { plural } from "./format.js";
import { isOver } from "./run_rates.js";

const ACTIONS = {
  pause: { label: "Pause", done: "Paused", applies: (run) => run.state === "running" },
  resume: { label: "Resume", done: "Resumed", applies: (run) => run.state === "paused" },
  "retry-dead": {
    label: "Retry dead",
    done: "Dead conversations are handed out again",
    applies: (run) => run.dead > 0 && !["cancelling", "cancelled"].includes(run.state),
  },
  cancel: {
    label: "Cancel",
    done: "Cancelling",
    danger: true,
    applies: (run) => !isOver(run) && run.state !== "cancelling",
  },
};

/**
 * Buttons for what a run's state allows; `update(run)`.
 *
 * `onchanged` gets the run as an action's answer gives it, `onerror` a line to show. With `named` each button's label
 * names the run, for where there are several.
 */
export class RunControls {
  #run = null;
  #isBusy = false;
  #buttons;

  constructor({ onchanged, onerror, named = false }) {
    this.onchanged = onchanged;
    this.onerror = onerror;
    this.named = named;
    this.#buttons = new Map(Object.entries(ACTIONS).map(([action, about]) => [action, this.#button(action, about)]));
    this.element = h("div", { class: "toolbar run-controls", role: "group", "aria-label": "Steer the run" }, [
      ...this.#buttons.values(),
    ]);
  }

  update(run) {
    this.#run = run;
    for (const [action, button] of this.#buttons) {
      button.hidden = !ACTIONS[action].applies(run);
      if (this.named) button.setAttribute("aria-label", `${ACTIONS[action].label} ${run.name ?? run.id}`);
    }
  }

  #button(action, { label, danger }) {
    const look = ["button", danger && "button--danger", this.named && "button--small"];
    return h("button", { type: "button", class: look, hidden: true, onclick: () => this.#act(action) }, label);
  }

  async #act(action) {
    const run = this.#run;
    if (this.#isBusy || (action === "cancel" && !(await isMeant(run)))) return;
    this.#isBusy = true;
    try {
      const answer = await post(`/v1/runs/${run.id}/${action}`);
      this.onerror("");
      this.onchanged(answer.run ?? answer);
      announce(ACTIONS[action].done);
      this.#keepFocus();
    } catch (error) {
      this.onerror(`${ACTIONS[action].label}: ${error.message}`);
    } finally {
      this.#isBusy = false;
    }
  }

  /** The pressed button may be gone; whoever steers by keyboard stays here. */
  #keepFocus() {
    if (document.activeElement !== document.body) return;
    const next = [...this.#buttons.values()].find((button) => !button.hidden) ?? $("#main");
    next.focus({ preventScroll: true });
  }
}

function isMeant(run) {
  const unfinished = run.conversations - run.finished - run.dead;
  return confirmed({
    title: `Cancel ${run.name ?? run.id}?`,
    text: `${plural(unfinished, "conversation")} will be given up, for good. What is finished stays in the dataset.`,
    action: "Cancel the run",
  });
}
