// Seeds as people paste or upload them, free of the page: a line of text each, JSON lines, or one JSON list.

const TOLD = ["intent", "goal", "persona", "profile"];
const KEYS = ["question", "answer", ...TOLD];
const WHOLE = ["continue", "reanswer"];
const CONVERSATIONS = ["turns", "messages", "conversations"];
const ROLES = { human: "user", gpt: "assistant" };

/**
 * `{seeds, problems}` of a text. A plain line is a question, in intent mode an intent, in continue and reanswer mode a
 * conversation of one turn; a line of JSON is an object with what a seed has (`question`, `intent`, …), in the latter
 * modes with a conversation. Problems are lines for people, the first ten.
 */
export function parseSeeds(text, mode) {
  const trimmed = text.trim();
  if (trimmed.startsWith("[")) return fromList(trimmed, mode);
  const seeds = [];
  const problems = [];
  text.split(/\r?\n/).forEach((line, position) => {
    if (line.trim() === "") return;
    const seed = line.trim().startsWith("{") ? fromJson(line, mode) : ofText(line.trim(), mode);
    if (typeof seed === "string") problems.push(`Line ${position + 1}: ${seed}`);
    else seeds.push({ ...seed, line: position + 1 });
  });
  return { seeds, problems: problems.slice(0, 10) };
}

function ofText(text, mode) {
  if (WHOLE.includes(mode)) return { turns: [{ role: "user", content: text }] };
  return { [mode === "intent" ? "intent" : "question"]: text };
}

function fromList(text, mode) {
  let list;
  try {
    list = JSON.parse(text);
  } catch (error) {
    return { seeds: [], problems: [`It begins like a JSON list but is none: ${error.message}`] };
  }
  const seeds = list.map((item) => (typeof item === "string" ? ofText(item, mode) : picked(item, mode)));
  const bad = seeds.flatMap((seed, position) => (typeof seed === "string" ? [`Item ${position + 1}: ${seed}`] : []));
  return { seeds: seeds.filter((seed) => typeof seed !== "string"), problems: bad.slice(0, 10) };
}

function fromJson(line, mode) {
  try {
    return picked(JSON.parse(line), mode);
  } catch {
    return "it begins like JSON but is none";
  }
}

/** What a record gives; a line that says what is wrong where it gives nothing. */
function picked(record, mode) {
  if (WHOLE.includes(mode)) return conversationOf(record);
  const seed = textsOf(record, KEYS);
  seed.question ??= [record?.instruction, record?.prompt].find((text) => typeof text === "string");
  if (seed.question === undefined) delete seed.question;
  return Object.keys(seed).length ? seed : `it needs one of ${KEYS.join(", ")}`;
}

const textsOf = (record, keys) =>
  Object.fromEntries(keys.filter((key) => typeof record?.[key] === "string").map((key) => [key, record[key]]));

/** A seed that is a conversation; its system messages are not said. */
function conversationOf(record) {
  const key = CONVERSATIONS.find((name) => Array.isArray(record?.[name]));
  if (key === undefined) return `it needs one of ${CONVERSATIONS.join(", ")}`;
  const turns = record[key].map(turnOf);
  if (!turns.every(Boolean)) return `each of its ${key} has to be a text with a role`;
  const ended = typeof record.ended === "boolean" ? { ended: record.ended } : {};
  return { ...textsOf(record, TOLD), turns: turns.filter(({ role }) => role !== "system"), ...ended };
}

function turnOf(turn) {
  if (typeof turn === "string") return { role: "user", content: turn };
  const role = turn?.role ?? turn?.from;
  const content = turn?.content ?? turn?.value;
  return typeof role === "string" && typeof content === "string" ? { role: ROLES[role] ?? role, content } : null;
}
