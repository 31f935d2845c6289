// The HTTP API as pages use it: JSON, streams of events that heal, and one kind of error.

import { connection } from "./connection.js";

const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 10_000;
const SHOWN_PROBLEMS = 3;

/** A refusal. `problems` is the list of a 422: `[{loc, msg}]`; `status` 0: the API was not reached. */
export class ApiError extends Error {
  constructor(status, message, problems = []) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.problems = problems;
  }
}

export const get = (path, options) => ask("GET", path, undefined, options);
/** `options.headers` for an Idempotency-Key; `options.signal` to give up; `options.keepalive` to outlive the page. */
export const post = (path, body, options) => ask("POST", path, body, options);
export const put = (path, body, options) => ask("PUT", path, body, options);

async function ask(method, path, body, { headers = {}, signal, keepalive = false } = {}) {
  const request = { method, signal, keepalive };
  const response = await reach(path, { ...request, ...sent(body, { Accept: "application/json", ...headers }) });
  return response.status === 204 ? null : response.json();
}

function sent(body, headers) {
  if (body === undefined) return { headers };
  return { headers: { "Content-Type": "application/json", ...headers }, body: JSON.stringify(body) };
}

/** Fetch, or throw what was refused as an ApiError. An AbortError stays one. */
async function reach(path, options) {
  let response;
  try {
    response = await fetch(path, { credentials: "same-origin", ...options });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "The API cannot be reached. It is tried again at your next attempt.");
  }
  if (!response.ok) throw await refusal(response);
  return response;
}

async function refusal(response) {
  if (response.status === 401) toLogin();
  const { detail } = await response.json().catch(() => ({}));
  if (Array.isArray(detail)) return new ApiError(response.status, summary(detail), detail);
  return new ApiError(response.status, detail ?? `The API answered ${response.status} ${response.statusText}`);
}

function summary(problems) {
  const lines = problems.slice(0, SHOWN_PROBLEMS).map(({ loc, msg }) => `${loc.slice(1).join(".") || loc[0]}: ${msg}`);
  const more = problems.length - lines.length;
  return lines.join("; ") + (more > 0 ? `; and ${more} more` : "");
}

function toLogin() {
  location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
}

/**
 * Follow a stream of server-sent events and connect again where it breaks.
 *
 * `handlers`: event name → function of (data, stream). `stream.close()` ends it for good. It pauses while the tab is
 * hidden. `onstate` gets `connecting`, `connected`, `waiting` or `ended`; `onrefused` an ApiError that waiting does
 * not mend (404, 422), after which the stream is ended.
 */
export function events(path, handlers, { onstate, onrefused } = {}) {
  return new Stream(path, handlers, onstate, onrefused);
}

class Stream {
  #path;
  #handlers;
  #onstate;
  #onrefused;
  #source = null;
  #timer = 0;
  #wait = FIRST_WAIT_MS;
  #isEnded = false;
  #onvisible = () => (document.hidden ? this.#pause() : this.#open());

  constructor(path, handlers, onstate, onrefused) {
    this.#path = path;
    this.#handlers = handlers;
    this.#onstate = onstate;
    this.#onrefused = onrefused;
    document.addEventListener("visibilitychange", this.#onvisible);
    if (!document.hidden) this.#open();
  }

  close() {
    if (this.#isEnded) return;
    this.#isEnded = true;
    document.removeEventListener("visibilitychange", this.#onvisible);
    this.#pause();
    this.#tell("ended");
  }

  #pause() {
    clearTimeout(this.#timer);
    this.#source?.close();
    this.#source = null;
  }

  #open() {
    if (this.#isEnded || this.#source) return;
    clearTimeout(this.#timer);
    this.#tell("connecting");
    const source = (this.#source = new EventSource(this.#path));
    source.onopen = () => this.#tell("connected");
    source.onerror = () => this.#broken(source);
    for (const [name, handler] of Object.entries(this.#handlers)) {
      source.addEventListener(name, (event) => {
        this.#wait = FIRST_WAIT_MS;
        if (!this.#isEnded && event.data !== undefined) handler(JSON.parse(event.data), this);
      });
    }
  }

  /** The browser's own retry knows no backoff and no login: this one does. */
  async #broken(source) {
    const isRefused = source.readyState === EventSource.CLOSED;
    source.close();
    if (this.#isEnded || source !== this.#source) return;
    this.#source = null;
    const error = isRefused ? await whyRefused(this.#path) : null;
    if (this.#isEnded || this.#source || document.hidden) return;
    if (error && error.status >= 400 && error.status < 500 && error.status !== 429) {
      this.close();
      this.#onrefused?.(error);
      return;
    }
    this.#tell("waiting", this.#wait);
    this.#timer = setTimeout(() => this.#open(), this.#wait);
    this.#wait = Math.min(LONGEST_WAIT_MS, this.#wait * 2);
  }

  #tell(state, waitMs) {
    connection.report(this, state, waitMs);
    this.#onstate?.(state);
  }
}

/** An EventSource does not say what it was refused with; asking again does. */
async function whyRefused(path) {
  const giveUp = new AbortController();
  try {
    await reach(path, { headers: { Accept: "text/event-stream" }, signal: giveUp.signal });
    return null;
  } catch (error) {
    return error instanceof ApiError ? error : null;
  } finally {
    giveUp.abort();
  }
}

/**
 * The server-sent events that a POST answers with; resolves when they end.
 *
 * Throws ApiError where the request is refused or the connection breaks, AbortError where `signal` ended it.
 */
export async function streamPost(path, body, handlers, signal) {
  const response = await reach(path, { method: "POST", signal, ...sent(body, { Accept: "text/event-stream" }) });
  try {
    for await (const { name, data } of eventsOf(response.body)) handlers[name]?.(JSON.parse(data));
  } catch (error) {
    if (error.name === "AbortError" || !(error instanceof TypeError)) throw error;
    throw new ApiError(0, "The connection broke in the middle of the answer.");
  }
}

async function* eventsOf(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const pieces = (rest + value).split(/\r?\n\r?\n/);
    rest = pieces.pop();
    for (const piece of pieces) {
      const event = parsed(piece);
      if (event.data) yield event;
    }
  }
}

function parsed(piece) {
  let name = "message";
  const data = [];
  for (const line of piece.split(/\r?\n/)) {
    if (line.startsWith("event:")) name = line.slice(6).trim();
    else if (line.startsWith("data:")) data.push(line.slice(5).replace(/^ /, ""));
  }
  return { name, data: data.join("\n") };
}
