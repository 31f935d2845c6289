// Markdown as the server renders and sanitises it: asked for in batches, kept, and put into the page in one place.

import { post } from "./api.js";
import { replace } from "./dom.js";

const MAX_TEXTS = 200;
const MAX_BYTES = 900_000;
const KEPT = 1_000;

const kept = new Map();
let waiting = new Map();

/**
 * HTML for each of the texts, in their order, sanitised by the server. Texts of one moment travel in one request.
 *
 * Rejects with ApiError where the API does not answer; show the texts as they are then.
 */
export function rendered(texts) {
  return Promise.all(texts.map(one));
}

/** Put rendered HTML into a node. The only place that sets innerHTML: give it nothing but what `rendered` gave. */
export function setRendered(node, html) {
  node.innerHTML = html;
  node.classList.add("rendered");
}

/** Show a text as it is at once, and rendered as soon as the server answered. */
export async function show(node, text) {
  replace(node, text);
  try {
    const [html] = await rendered([text]);
    if (node.textContent === text) setRendered(node, html);
  } catch {
    // The plain text stays.
  }
}

function one(text) {
  const known = kept.get(text) ?? waiting.get(text)?.promise;
  if (known !== undefined) return known;
  if (waiting.size === 0) queueMicrotask(ask);
  const entry = Promise.withResolvers?.() ?? resolvers();
  waiting.set(text, entry);
  return entry.promise;
}

function resolvers() {
  const entry = {};
  entry.promise = new Promise((resolve, reject) => Object.assign(entry, { resolve, reject }));
  return entry;
}

function ask() {
  const entries = [...waiting];
  waiting = new Map();
  for (const batch of batches(entries)) askFor(batch);
}

function* batches(entries) {
  let batch = [];
  let size = 0;
  for (const entry of entries) {
    const length = new Blob([entry[0]]).size;
    if (batch.length && (batch.length === MAX_TEXTS || size + length > MAX_BYTES)) {
      yield batch;
      [batch, size] = [[], 0];
    }
    batch.push(entry);
    size += length;
  }
  if (batch.length) yield batch;
}

async function askFor(batch) {
  try {
    const { html } = await post("/v1/render", { texts: batch.map(([text]) => text) });
    batch.forEach(([text, entry], position) => {
      keep(text, html[position]);
      entry.resolve(html[position]);
    });
  } catch (error) {
    for (const [, entry] of batch) entry.reject(error);
  }
}

function keep(text, html) {
  kept.set(text, html);
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
}
