// The header's badge that says whether the page's streams are connected.

import { $, setText } from "./dom.js";

const LABELS = { connected: "Connected", connecting: "Connecting", waiting: "Reconnecting" };
const WORST_FIRST = ["waiting", "connecting", "connected"];

class Connection {
  #states = new Map();
  #wasLost = false;

  /** What one stream has to say; the badge shows the worst of all. */
  report(stream, state, waitMs = 0) {
    if (state === "ended") this.#states.delete(stream);
    else this.#states.set(stream, { state, waitMs });
    this.#show();
  }

  #show() {
    const badge = $("#connection");
    if (!badge) return;
    const reports = [...this.#states.values()];
    const state = WORST_FIRST.find((wanted) => reports.some((report) => report.state === wanted)) ?? null;
    badge.hidden = state === null;
    if (state !== null) this.#write(badge, state, reports);
  }

  #write(badge, state, reports) {
    // A retry under way is still a lost connection to whoever looks.
    const shown = state === "connecting" && this.#wasLost ? "waiting" : state;
    badge.dataset.state = shown;
    setText($("span", badge), LABELS[shown]);
    const waitS = Math.max(...reports.map((report) => report.waitMs)) / 1000;
    badge.title =
      shown === "waiting" ? `The connection is lost. Trying again within ${Math.max(1, Math.round(waitS))} s` : "";
    if (shown !== "connecting") this.#wasLost = shown === "waiting";
  }
}

export const connection = new Connection();
