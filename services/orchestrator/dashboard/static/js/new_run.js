// Starting a run: from a form, or from a spec as JSON.

import { ApiError, get } from "./api.js";
import { $, announce, h, replace, setText } from "./dom.js";
import { bytes, plural } from "./format.js";
import { Submission } from "./run_submission.js";
import { SpecSchema } from "./schema.js";
import { parseSeeds } from "./seed_text.js";
import { seedsHelp } from "./seeds_help.js";
import { buildFields, specOf } from "./spec_form.js";

const PASTED_AT_MOST = 200_000;

const submission = new Submission();
const tabs = [...document.querySelectorAll("[role=tab]")];
let fields = new Map();
let file = null;
let isSpecTouched = false;

const mode = () => fields.get("seed_mode")?.control.value ?? "free";
const seedText = () => file?.text ?? $("#seeds").value;

function choose(tab) {
  if (tab.id === "tab-spec" && !isSpecTouched && fields.size) $("#spec").value = JSON.stringify(fromForm(), null, 2);
  for (const each of tabs) {
    const isChosen = each === tab;
    each.setAttribute("aria-selected", isChosen);
    each.tabIndex = isChosen ? 0 : -1;
    $(`#${each.getAttribute("aria-controls")}`).hidden = !isChosen;
  }
}

function onTabKey(event) {
  const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  if (!by) return;
  const next = tabs[(tabs.indexOf(event.currentTarget) + by + tabs.length) % tabs.length];
  choose(next);
  next.focus();
}

/** The request that the form asks for. */
function fromForm() {
  const { seeds } = parseSeeds(seedText(), mode());
  const spec = specOf(fields);
  return mode() === "free" ? { spec } : { spec, seeds };
}

/** Nothing is left out silently: a seed that cannot be read stops the run. */
function checked(request) {
  const { problems } = parseSeeds(seedText(), mode());
  if (problems.length && mode() !== "free")
    throw new ApiError(
      0,
      "",
      problems.map((msg) => ({ loc: ["body", "seeds"], msg })),
    );
  return request;
}

/** The request in the textarea: whole, or a spec alone. Throws SyntaxError. */
function fromSpec() {
  const given = JSON.parse($("#spec").value);
  return given !== null && typeof given === "object" && "spec" in given ? given : { spec: given };
}

function onSeeds() {
  const text = seedText().trim();
  if (text && mode() === "free") {
    fields.get("seed_mode").control.value = "question";
    announce("Seed mode is now question");
  }
  replace($("#seeds-help"), seedsHelp(mode()));
  const { seeds, problems } = parseSeeds(seedText(), mode());
  const from = file ? ` from ${file.name} (${bytes(file.size)})` : "";
  setText($("#seeds-count"), text ? `${plural(seeds.length, "seed")}${from}` : "");
  complainOfSeeds(problems.join(". "));
  $("#seeds-clear").hidden = !file;
}

function complainOfSeeds(text) {
  setText($("#seeds-problem"), text);
  $("#seeds").setAttribute("aria-invalid", String(Boolean(text)));
}

async function onFile(event) {
  const [chosen] = event.target.files;
  if (!chosen) return;
  const text = await chosen.text();
  if (text.length <= PASTED_AT_MOST) [$("#seeds").value, file] = [text, null];
  else file = { name: chosen.name, size: chosen.size, text };
  $("#seeds").disabled = file !== null;
  onSeeds();
}

function onClear() {
  file = null;
  $("#seeds-file").value = "";
  $("#seeds").disabled = false;
  onSeeds();
}

function clearProblems() {
  for (const field of fields.values()) field.complain("");
  complainOfSeeds("");
  replace($("#problems"));
}

/** Problems go to their fields; all of them are listed on top too. */
function showProblems(error) {
  const problems = error.problems?.length ? error.problems : [{ loc: [], msg: error.message }];
  let first = null;
  const lines = problems.map(({ loc, msg }) => {
    const [, root, ...way] = loc;
    const field = fields.get(way.filter((part) => typeof part === "string").join("."));
    if (root === "seeds" || (!field && /seed/.test(msg))) complainOfSeeds(msg);
    field?.complain(msg);
    const details = field?.control.closest("details");
    if (details) details.open = true;
    first ??= field?.control ?? (root === "seeds" ? $("#seeds") : null);
    return h("li", {}, way.length ? `${way.join(".")}: ${msg}` : msg);
  });
  replace(
    $("#problems"),
    h("div", { class: "error", role: "alert" }, h("b", {}, "The run was not started"), h("ul", {}, lines)),
  );
  const isForm = !$("#form").hidden;
  if (isForm && first) first.focus();
  else $("#problems").scrollIntoView({ block: "nearest" });
}

async function start(event) {
  event.preventDefault();
  const button = $("#start");
  if (button.getAttribute("aria-disabled") === "true") return;
  clearProblems();
  button.setAttribute("aria-disabled", "true");
  setText(button, "Starting…");
  try {
    const request = $("#form").hidden ? fromSpec() : checked(fromForm());
    const run = await submission.send(request);
    location.assign(`/runs/${run.id}`);
  } catch (error) {
    showProblems(error instanceof SyntaxError ? new Error(`This is not JSON: ${error.message}`) : error);
    button.removeAttribute("aria-disabled");
    setText(button, "Start run");
  }
}

async function build() {
  try {
    const [schema, profiles] = await Promise.all([SpecSchema.load(), get("/v1/profiles")]);
    fields = buildFields(schema, profiles, { basics: $("#basics"), seeding: $("#seeding"), groups: $("#groups") });
    fields.get("seed_mode").control.addEventListener("change", onSeeds);
    onSeeds();
    $("#fields").hidden = false;
  } catch (error) {
    replace(
      $("#problems"),
      h(
        "p",
        { class: "error", role: "alert" },
        `The form could not be made: ${error.message} The Spec tab works without it.`,
      ),
    );
    choose($("#tab-spec"));
  }
}

for (const tab of tabs) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", onTabKey);
}
$("#new-run").addEventListener("submit", start);
$("#spec").addEventListener("input", () => (isSpecTouched = true));
$("#seeds").addEventListener("input", onSeeds);
$("#seeds-file").addEventListener("change", onFile);
$("#seeds-clear").addEventListener("click", onClear);
addEventListener("pageshow", () => {
  $("#start").removeAttribute("aria-disabled");
  setText($("#start"), "Start run");
});
build();
