/** The open talk in this tab's session storage: turns, branches, draft and settings survive a reload. */

import { TalkTree } from "./talk_tree.js";

const KEY = "platolm.talk";
export const MODES = ["user", "assistant", "watch"];

/** A talk in which nothing was said; `settings` null: the panel's defaults. */
export function newTalk(mode = "user", settings = null) {
  const empty = { draft: "", title: "", mark: "", startedAt: null, saved: null };
  return { mode, settings, tree: new TalkTree(), session: sessionId(), ...empty };
}

/** The talk that was open in this tab, or a new one. */
export function openTalk() {
  try {
    const saved = JSON.parse(sessionStorage.getItem(KEY));
    if (!MODES.includes(saved.mode)) return newTalk();
    return { ...newTalk(), ...saved, tree: TalkTree.from(saved.tree) };
  } catch {
    return newTalk();
  }
}

/** Keep it; where there is no room or no storage it lasts as long as the page. */
export function keepTalk(talk) {
  try {
    sessionStorage.setItem(KEY, JSON.stringify(talk));
  } catch {
    sessionStorage.removeItem(KEY);
  }
}

/** Names the talk to the gateways, so that one replica answers all of it. Plain http has no randomUUID. */
function sessionId() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return `talk-${Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
