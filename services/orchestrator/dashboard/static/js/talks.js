/** The saved talks, newest first. */

import { get } from "./api.js";
import { $, h, replace } from "./dom.js";
import { endingBadge, plural, time, tokens } from "./format.js";
import { markBadge } from "./mark.js";

const list = $("#talks");
const more = $("#more");
let cursor = null;

async function load() {
  more.disabled = true;
  try {
    const page = await get(`/v1/talks${cursor === null ? "" : `?cursor=${encodeURIComponent(cursor)}`}`);
    const rows = page.talks.map((talk) => h("li", {}, talkRow(talk)));
    list.append(...rows);
    if (cursor !== null) $("a", rows[0] ?? list)?.focus();
    cursor = page.next_cursor;
    showEnd();
  } catch (error) {
    showError(error);
  }
  more.disabled = false;
}

function talkRow(talk) {
  const hasEnded = talk.termination_reason !== "cancelled"; // saved in the middle
  return h(
    "article",
    { class: "record" },
    h(
      "a",
      { class: "record__text", href: `/conversations/${talk.id}`, dir: "auto" },
      talk.title ? h("span", { class: "record__title" }, talk.title) : null,
      talk.opening.trim() === "" ? h("em", {}, "(it begins blank)") : talk.opening,
    ),
    h(
      "p",
      { class: "record__facts" },
      hasEnded ? endingBadge(talk.termination_reason) : null,
      markBadge(talk.mark),
      h("span", {}, plural(talk.num_rounds, "round")),
      talk.num_tokens > 0 ? h("span", {}, tokens(talk.num_tokens)) : null,
      h("span", {}, `${talk.simulator} and ${talk.respondent}`),
      time(talk.saved_at),
    ),
  );
}

function showEnd() {
  const isEmpty = list.children.length === 0;
  more.hidden = cursor === null;
  $("#empty").hidden = !isEmpty;
  $("#downloads").hidden = isEmpty;
  $("#loading").hidden = true;
  $("#error").hidden = true;
}

function showError(error) {
  const retry = h("button", { type: "button", class: "button", onclick: load }, "Try again");
  replace($("#error"), `${error.message} `, retry);
  $("#error").hidden = false;
  $("#loading").hidden = true;
}

more.addEventListener("click", load);
load();
