// What the seeds of each mode look like.

import { h } from "./dom.js";

const code = (text) => h("code", {}, text);
const AGAIN = "Conversation i starts from seed i; when they run out they are used again in turn.";
const WHOLE = () => [
  "One per line, as JSON: ",
  code('{"messages": […]}'),
  ", ",
  code('{"conversations": […]}'),
  " or ",
  code('{"turns": ["…", "…"]}'),
  "; a line of text is one question. ",
];

const HELP = {
  free: () => ["None are taken: the simulator opens by itself. Questions that are pasted here set question mode."],
  question: () => ["One per line: a question, or JSON: ", code('{"question": "…"}'), ". ", AGAIN],
  exchange: () => ["One per line, as JSON: ", code('{"question": "…", "answer": "…"}'), ". ", AGAIN],
  intent: () => [
    "One per line: what the user wants, or JSON with one or more of ",
    ...["intent", "goal", "persona", "profile"].flatMap((field) => [code(field), ", "]).slice(0, -1),
    ", and perhaps a ",
    code("question"),
    " that is said first: ",
    code('{"intent": "You want to plan a party.", "persona": "You are shy."}'),
    ". ",
    AGAIN,
  ],
  continue: () => [...WHOLE(), "Both sides go on after it, or after so many of its turns as are to stand. ", AGAIN],
  reanswer: () => [...WHOLE(), "Every turn of its user is said as it stands, and answered anew. ", AGAIN],
};

/** Texts and nodes that say what to write under Seeds in a mode. */
export const seedsHelp = (mode) => (HELP[mode] ?? HELP.question)();
