// Making and changing elements. Text always becomes text nodes: what a model says is never read as HTML here.

const SVG = "http://www.w3.org/2000/svg";

/** The first element that matches, under `root`; null where there is none. */
export function $(selector, root = document) {
  return root.querySelector(selector);
}

/**
 * An element.
 *
 * Attributes: `on<event>` takes a function, `class` a string or a list (falsy entries are left out). True is an empty
 * attribute; null, undefined and false are left out; in `aria-*` true and false are words. Children: nodes, texts,
 * numbers, lists of them.
 */
export function h(tag, attributes = {}, ...children) {
  return dressed(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return dressed(document.createElementNS(SVG, tag), attributes, children);
}

/** Put children in the place of what a node holds. */
export function replace(node, ...children) {
  node.replaceChildren(...nodesOf(children));
  return node;
}

/** Change a node's text only where it differs, so that nothing is laid out again for nothing. */
export function setText(node, text) {
  const wanted = String(text);
  if (node.textContent !== wanted) node.textContent = wanted;
}

const due = new Set();
let requested = 0;

/** Run `fn` in the next animation frame, once, however often it is asked for until then. */
export function frame(fn) {
  due.add(fn);
  requested ||= requestAnimationFrame(runDue);
}

function runDue() {
  requested = 0;
  const functions = [...due];
  due.clear();
  for (const fn of functions) fn();
}

/** Tell screen readers, politely. For what changes the situation, not for each utterance. */
export function announce(text) {
  const region = $("#announcer");
  if (!region) return;
  region.textContent = "";
  setTimeout(() => (region.textContent = text), 50); // emptied first: the same text twice is read twice
}

/** Put a text on the clipboard and say so on the button that asked for it. */
export async function copy(text, button) {
  const before = button?.textContent;
  try {
    await write(text);
    if (button) setText(button, "Copied");
    announce("Copied");
  } catch {
    if (button) setText(button, "Cannot copy");
    announce("The browser does not allow copying");
  }
  if (button) setTimeout(() => setText(button, before), 1500);
}

async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = h("textarea", { class: "visually-hidden", "aria-hidden": "true" }); // plain http has no clipboard
  area.value = text;
  (document.querySelector("dialog[open]") ?? document.body).append(area);
  area.select();
  const isDone = document.execCommand("copy");
  area.remove();
  if (!isDone) throw new Error("not copied");
}

function dressed(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || (value === false && !name.startsWith("aria-"))) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.setAttribute("class", [value].flat().filter(Boolean).join(" "));
    else element.setAttribute(name, value === true && !name.startsWith("aria-") ? "" : String(value));
  }
  element.append(...nodesOf(children));
  return element;
}

function nodesOf(children) {
  return children
    .flat(Infinity)
    .filter((child) => child !== null && child !== undefined && child !== false)
    .map((child) => (child instanceof Node ? child : document.createTextNode(String(child))));
}
