/** Browse and search a run's dataset. What is searched for lies in the page's address. */

import { get } from "./api.js";
import { $, announce, h, replace, setText } from "./dom.js";
import { ENDINGS, number, plural, runName } from "./format.js";
import { onKeys } from "./keys.js";
import { rememberList } from "./record_neighbours.js";
import { isFiltered, queryOf, recordsPath, searchOf } from "./record_query.js";
import { recordRow } from "./record_row.js";
import { RecordWindow } from "./record_window.js";

const TYPING_MS = 300;
const PAGE = 50;
const FIELDS = ["q", "ending", "min_rounds", "max_rounds", "mark"];

const page = $("#browse");
const runId = page.dataset.run;
const form = $("#search");
const shown = { query: queryOf(location.search), list: null, run: null, timer: 0, said: "" };

function start() {
  const ending = form.elements.ending;
  for (const [reason, { label }] of Object.entries(ENDINGS)) ending.append(h("option", { value: reason }, label));
  fill(shown.query);
  bind();
  search();
  askRun();
}

function bind() {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    changed();
  });
  form.addEventListener("input", (event) => changedSoon(event.target.matches("select") ? 0 : TYPING_MS));
  $("#clear").addEventListener("click", clear);
  $("#jump").addEventListener("submit", jump);
  $("#next").addEventListener("click", next);
  $("#previous").addEventListener("click", previous);
  $("#stop").addEventListener("click", () => shown.list.stop());
  $("#records").addEventListener("click", remember, true);
  addEventListener("popstate", () => {
    shown.query = queryOf(location.search);
    fill(shown.query);
    search();
  });
  onKeys({ j: () => step(1), k: () => step(-1), n: () => void next(), "/": () => form.elements.q.focus() });
}

function fill(query) {
  for (const name of FIELDS) form.elements[name].value = query[name];
  $("#position").value = query.start;
}

function changedSoon(ms) {
  clearTimeout(shown.timer);
  shown.timer = setTimeout(changed, ms);
}

function changed() {
  clearTimeout(shown.timer);
  const fields = FIELDS.map((name) => [name, form.elements[name].value.trim()]);
  go({ ...Object.fromEntries(fields), start: "" });
}

function clear() {
  form.reset();
  go(queryOf(""));
  form.elements.q.focus();
}

/** Records are counted from 0 in the API and in addresses; people see the same number. */
function jump(event) {
  event.preventDefault();
  const position = $("#position");
  if (position.value !== "" && position.reportValidity()) go({ ...shown.query, start: position.value });
}

function go(query) {
  if (searchOf(query) === searchOf(shown.query)) return;
  shown.query = query;
  $("#position").value = query.start;
  history.replaceState(null, "", `${location.pathname}${searchOf(query)}`);
  search();
}

/** Begin anew; the search before is given up. */
function search() {
  shown.list?.close();
  shown.said = "";
  scrollTo({ top: 0 });
  const { query } = shown;
  shown.list = new RecordWindow($("#records"), {
    fetch: (cursor, signal) => get(recordsPath(runId, query, cursor, PAGE), { signal }),
    row: recordRow,
    onchange: showProgress,
  });
  showProgress(shown.list.progress);
}

function showProgress(progress) {
  const { isBusy, isDone, isStopped, error, found, searched, total } = progress;
  setText($("#progress"), progressText(progress));
  const bar = $("#bar");
  bar.hidden = !(isBusy && isFiltered(shown.query) && total > 0);
  bar.max = Math.max(total, 1);
  bar.value = searched;
  $("#stop").hidden = !(isBusy && isFiltered(shown.query));
  $("#next").hidden = isDone || (isBusy && found === 0);
  $("#next").setAttribute("aria-disabled", String(isBusy));
  $("#previous").hidden = !(Number(shown.query.start) > 0);
  page.setAttribute("aria-busy", String(isBusy));
  showEmpty(found === 0 && isDone && !error);
  showError(error);
  if (isDone || isStopped) say(progressText(progress));
}

function progressText({ isBusy, isDone, isStopped, found, searched, total, error }) {
  if (error) return "";
  if (!isFiltered(shown.query)) return total > 0 || isDone ? `${plural(total, "record")} in the dataset` : "Loading …";
  const extent = `searched ${number(searched)} of ${number(total)}`;
  if (isDone) return `${plural(found, "record")} found in ${number(total)}`;
  const state = isStopped ? ", stopped" : isBusy ? " …" : "";
  return `${number(found)} found, ${extent}${state}`;
}

function say(text) {
  if (text !== shown.said) announce(text);
  shown.said = text;
}

function showEmpty(isEmpty) {
  const empty = $("#empty");
  if (empty.hidden === !isEmpty) return;
  empty.hidden = !isEmpty;
  if (!isEmpty) return;
  const clearButton = h("button", { type: "button", class: "button", onclick: clear }, "Clear the search");
  const watch = h("a", { class: "button", href: `/?run=${encodeURIComponent(runId)}` }, "Watch it live");
  const isAsked = isFiltered(shown.query) || shown.query.start !== "";
  replace(
    empty,
    h("p", {}, isAsked ? "No record matches." : "Nothing is in this dataset yet. Finished conversations appear here."),
    isAsked ? clearButton : watch,
  );
}

function showError(error) {
  const box = $("#error");
  box.hidden = !error;
  if (!error) return;
  const retry = h("button", { type: "button", class: "button", onclick: () => shown.list.goOn() }, "Try again");
  replace(box, `${error.message} `, error.status === 422 || error.status === 404 ? null : retry);
}

/** What follows the records on the screen, and the focus on the first of them. */
async function next() {
  const first = await shown.list.goOn();
  first?.focus({ preventScroll: true });
}

function previous() {
  go({ ...shown.query, start: String(Math.max(0, Number(shown.query.start) - PAGE) || "") });
}

function step(by) {
  const links = [...page.querySelectorAll(".record__text")];
  const at = links.indexOf(document.activeElement);
  const link = links[at < 0 ? 0 : at + by];
  link?.focus({ preventScroll: true });
  link?.scrollIntoView({ block: "nearest" });
}

function remember(event) {
  const row = event.target.closest(".record");
  if (row) rememberList(runId, shown.query, shown.list.around(row.dataset.id));
}

/** The run's name, and the way back; a dataset without a run (talks) does without. */
async function askRun() {
  try {
    shown.run = await get(`/v1/runs/${encodeURIComponent(runId)}`);
    setText($("#run-name"), runName(shown.run));
  } catch {
    // Its id stands there already.
  }
}

start();
