/**
 * The list that a conversation was opened from: which one comes before it and which after.
 *
 * The list page leaves it in this tab's session storage; a conversation opened by its permalink has the neighbours of
 * its index.
 */

import { get } from "./api.js";
import { recordsPath } from "./record_query.js";

const KEPT = 5000;
const KEY = "platolm.list";

/** Remember the records (`{id, position}`, in order) that the list of `runId` shows for `query`. */
export function rememberList(runId, query, records) {
  const kept = records.slice(-KEPT).map(({ id, position }) => ({ id, position }));
  try {
    sessionStorage.setItem(KEY, JSON.stringify({ runId, query, records: kept }));
  } catch {
    sessionStorage.removeItem(KEY); // no room: neighbours by index will do
  }
}

/** The list that holds `conversationId`, or null. */
export function listWith(conversationId) {
  try {
    const list = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
    return list?.records.some(({ id }) => id === conversationId) ? list : null;
  } catch {
    return null;
  }
}

/** The id before (`step` -1) or after (1) a conversation, null where there is none. Throws ApiError. */
export async function neighbour(conversationId, step) {
  const list = listWith(conversationId);
  if (list === null) return byIndex(conversationId, step);
  const at = list.records.findIndex(({ id }) => id === conversationId);
  const beside = list.records[at + step];
  if (beside !== undefined) return beside.id;
  return step > 0 ? following(list) : preceding(list);
}

async function following(list) {
  const start = list.records.at(-1).position + 1;
  const found = await firstFrom(list.runId, { ...list.query, start: String(start) });
  if (found === null) return null;
  rememberList(list.runId, list.query, [...list.records, found]);
  return found.id;
}

/** A page may be empty without being the last: asked on until something is found. */
async function firstFrom(runId, query) {
  let cursor = null;
  do {
    const page = await get(recordsPath(runId, query, cursor, 1));
    if (page.records.length > 0) return page.records[0];
    cursor = page.next_cursor;
  } while (cursor !== null);
  return null;
}

/** Records before the list's first are known by position only while nothing is filtered. */
async function preceding(list) {
  const { start: _start, ...filters } = list.query;
  const position = list.records[0].position - 1;
  if (position < 0 || Object.values(filters).some((value) => value !== "")) return null;
  const found = await firstFrom(list.runId, { ...list.query, start: String(position) });
  if (found === null) return null;
  rememberList(list.runId, list.query, [found, ...list.records].slice(0, KEPT));
  return found.id;
}

async function byIndex(conversationId, step) {
  const cut = conversationId.lastIndexOf("-");
  const index = Number(conversationId.slice(cut + 1)) + step;
  if (index < 0) return null;
  const id = `${conversationId.slice(0, cut)}-${String(index).padStart(8, "0")}`;
  try {
    return (await get(`/v1/conversations/${id}`)).id;
  } catch (error) {
    if (error.status === 404) return null;
    throw error;
  }
}
