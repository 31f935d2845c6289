/** What a run's records are searched for: in the page's address, in its form and in the API's query, one shape. */

const NAMES = ["q", "ending", "min_rounds", "max_rounds", "mark"];

/** `{q, ending, min_rounds, max_rounds, mark, start}` of an address's query, all texts, "" where not given. */
export function queryOf(search) {
  const given = new URLSearchParams(search);
  return Object.fromEntries([...NAMES, "start"].map((name) => [name, given.get(name)?.trim() ?? ""]));
}

/** The address's query, with its `?`; "" where nothing is asked. */
export function searchOf(query) {
  const said = [...NAMES, "start"].filter((name) => query[name] !== "" && query[name] !== undefined);
  const text = new URLSearchParams(said.map((name) => [name, query[name]])).toString();
  return text === "" ? "" : `?${text}`;
}

/** Whether anything but the place to start at is asked for. */
export function isFiltered(query) {
  return NAMES.some((name) => query[name] !== "");
}

/** The API's address of one page; `cursor` null: the first. */
export function recordsPath(runId, query, cursor, limit) {
  const parameters = new URLSearchParams(searchOf(query));
  parameters.set("limit", String(limit));
  if (cursor !== null) {
    parameters.set("cursor", cursor);
    parameters.delete("start");
  }
  return `/v1/runs/${encodeURIComponent(runId)}/records?${parameters}`;
}
