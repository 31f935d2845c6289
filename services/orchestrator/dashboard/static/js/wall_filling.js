// Bringing the wall up to date by asking: at the start, after a lost connection, and where nothing was heard for long.

import { get } from "./api.js";
import { MAX_CARDS } from "./wall.js";

const MAX_RUNS = 6;
const MAX_DETAILS = 32;
const AT_ONCE = 4;

/** Ask for what is in flight in these runs; cards get their last turns, those that ended unheard go. */
export async function fill(wall, runs) {
  for (const run of runs.filter((run) => run.in_flight > 0 || run.state !== "running").slice(0, MAX_RUNS)) {
    await list(wall, run.id).catch(() => {}); // the stream tells of a lost connection
  }
  wall.arrange(wall.numShown === 0);
  const blanks = wall.blanks().slice(0, MAX_DETAILS);
  await Promise.all(Array.from({ length: AT_ONCE }, () => details(wall, blanks)));
}

async function list(wall, runId) {
  const askedMs = Date.now();
  const page = await get(`/v1/runs/${runId}/conversations?state=in_flight&limit=${MAX_CARDS}`);
  const listed = new Set(page.conversations.map((conversation) => conversation.id));
  if (page.next_cursor === null) {
    for (const id of wall.quiet(runId, askedMs)) if (!listed.has(id)) wall.drop(id);
  }
  for (const { id, index, num_turns } of page.conversations) {
    wall.found({ conversation_id: id, run_id: runId, index }, num_turns);
  }
}

async function details(wall, ids) {
  for (let id = ids.shift(); id; id = ids.shift()) {
    const { run_id, index, turns } = await get(`/v1/conversations/${id}`).catch(() => ({ turns: [] }));
    turns.forEach((turn, turn_index) => wall.turn({ conversation_id: id, run_id, index, turn_index, ...turn }));
  }
}
