/** One record in a list: what it opens with or where it matches, how it ended, how long it is. */

import { h } from "./dom.js";
import { endingBadge, number, plural, ROLES, tokens } from "./format.js";
import { markBadge } from "./mark.js";

export function recordRow(record) {
  return h(
    "article",
    { class: "record", "data-id": record.id },
    h("a", { class: "record__text", href: `/conversations/${record.id}`, dir: "auto" }, textOf(record)),
    h(
      "p",
      { class: "record__facts" },
      endingBadge(record.termination_reason),
      markBadge(record.mark),
      h("span", {}, plural(record.num_rounds, "round")),
      h("span", {}, tokens(record.num_tokens)),
      h("span", { class: "muted", title: `${record.id}, record ${number(record.position)}` }, `#${number(record.index)}`),
    ),
  );
}

function textOf({ snippet, opening }) {
  if (!snippet) return opening.trim() === "" ? h("em", {}, "(it begins blank)") : opening;
  const where = `${ROLES[snippet.role] ?? snippet.role}, turn ${snippet.turn_index + 1}: `;
  const turn = h("span", { class: "record__where" }, where);
  return [turn, snippet.before, h("mark", {}, snippet.match), snippet.after];
}
