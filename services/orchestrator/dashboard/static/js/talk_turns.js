/** The shown path of a talk on the page: its turns, what can be done with each, and the way between branches. */

import { $, copy, h } from "./dom.js";
import { ROLES } from "./format.js";
import { factsOf, TurnView } from "./turn_view.js";

export class TalkTurns {
  #container;
  #tree;
  #views = new Map();
  #act;
  #isRaw = false;
  #isBusy = false;

  /** `act`: functions `edit(node, text)`, `again(node)`, `choose(node id)`. */
  constructor(container, tree, act) {
    this.#container = container;
    this.#tree = tree;
    this.#act = act;
  }

  /** Bring the page to what the tree shows; elements that stay are not touched, so that the focus stays too. */
  show(isBusy) {
    this.#isBusy = isBusy;
    const path = this.#tree.path;
    path.forEach((node, index) => {
      const { element } = this.#view(node, index);
      if (this.#container.children[index] !== element) {
        this.#container.insertBefore(element, this.#container.children[index] ?? null);
      }
    });
    while (this.#container.children.length > path.length) this.#container.lastElementChild.remove();
  }

  /** A turn that grew by a token. */
  grow(node) {
    this.#views.get(node.id)?.stream(node.turn.content);
  }

  setRaw(isRaw) {
    this.#isRaw = isRaw;
    for (const view of this.#views.values()) view.setRaw(isRaw);
  }

  #view(node, index) {
    let view = this.#views.get(node.id);
    if (view === undefined) {
      view = new TurnView(node.turn.role, index + 1);
      view.setRaw(this.#isRaw);
      this.#views.set(node.id, view);
    }
    this.#dress(view, node, index);
    return view;
  }

  /** Redrawn only where something differs: buttons that are redrawn would lose the focus. */
  #dress(view, node, index) {
    const { turn } = node;
    const branches = this.#tree.branches(node.id);
    const key = JSON.stringify([turn, branches, this.#isBusy, node === this.#tree.tip]);
    if (view.key === key) return;
    view.key = key;
    const title = `${ROLES[turn.role]}, ${turn.by === "person" ? "you" : (turn.model ?? "model")}`;
    const actions = turn.isStreaming ? [] : this.#actions(view, node, index, branches);
    view.setHead(title, h("div", { class: "turn__actions" }, actions));
    if (turn.isStreaming) view.stream(turn.content);
    else if (!view.element.classList.contains("turn--edited")) view.complete(turn.content);
    view.setFacts(turn.by === "model" ? factsOf(turn) : []);
  }

  #actions(view, node, index, branches) {
    const turn = index + 1;
    const look = { type: "button", class: "button button--quiet button--small" };
    const button = (text, label, act, disabled = this.#isBusy) =>
      h("button", { ...look, "aria-label": label, disabled, onclick: act }, text);
    const copyButton = button("Copy", `Copy turn ${turn}`, () => copy(node.turn.content, copyButton), false);
    const isEarlier = node.turn.by === "model" && node !== this.#tree.tip;
    return [
      branches.length > 1 ? this.#branches(button, node, turn, branches) : null,
      copyButton,
      button("Edit", `Edit turn ${turn}`, () => this.#edit(view, node)),
      isEarlier ? button("Again", `Make turn ${turn} again`, () => this.#act.again(node)) : null,
    ];
  }

  #branches(button, node, turn, branches) {
    const at = branches.indexOf(node.id);
    const to = (step, sign, label) => {
      const id = branches[at + step];
      const isOff = this.#isBusy || id === undefined;
      return button(sign, `${label} version of turn ${turn}`, () => this.#choose(id, label), isOff);
    };
    return h(
      "span",
      { class: "turn__branches", role: "group", "aria-label": `Versions of turn ${turn}` },
      to(-1, "‹", "Earlier"),
      h("span", {}, `${at + 1}/${branches.length}`),
      to(1, "›", "Later"),
    );
  }

  #choose(id, label) {
    this.#act.choose(id);
    const { element } = this.#views.get(id);
    const wanted = $(`button[aria-label^="${label}"]:not(:disabled)`, element);
    (wanted ?? $(".turn__branches button:not(:disabled)", element))?.focus();
  }

  #edit(view, node) {
    const id = `edit-${node.id}`;
    const area = h("textarea", { id, rows: 4, class: "edit__text" }, node.turn.content);
    const close = () => {
      view.setForm(null);
      $('button[aria-label^="Edit"]', view.element)?.focus();
    };
    const branch = () => {
      if (area.value.trim() === "" || area.value === node.turn.content) return close();
      view.setForm(null);
      this.#act.edit(node, area.value);
    };
    area.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") close();
      else if (event.key === "Enter" && !event.shiftKey) branch();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    view.setForm(editForm(id, area, branch, close));
    area.focus();
  }
}

function editForm(id, area, branch, close) {
  const button = (text, act, kind = "") => h("button", { type: "button", class: ["button", kind], onclick: act }, text);
  return h(
    "div",
    { class: "edit field" },
    h("label", { for: id }, "Edited text"),
    area,
    h("div", { class: "toolbar" }, button("Branch", branch, "button--primary"), button("Cancel", close)),
  );
}
