/**
 * A talk with its branches: a tree of turns, of which one path is shown. No page, no requests.
 *
 * A turn is `{role, content, by: "person"|"model", …}`; what else is known of it (tokens, seed, `ended`) lies beside.
 */

const ROOT = 0;

export class TalkTree {
  #nodes = new Map([[ROOT, { id: ROOT, parent: null, chosen: null, turn: null }]]);
  #last = ROOT;

  /** The shown nodes `{id, parent, chosen, turn}`, the opening first. */
  get path() {
    const path = [];
    for (let id = this.#node(ROOT).chosen; id !== null; id = this.#node(id).chosen) path.push(this.#node(id));
    return path;
  }

  /** The node of the last shown turn, null where nothing was said. */
  get tip() {
    return this.path.at(-1) ?? null;
  }

  get isEmpty() {
    return this.#node(ROOT).chosen === null;
  }

  node(id) {
    return this.#nodes.get(id) ?? null;
  }

  /** Add a turn after node `parent` (null: as an opening) and show it. Gives its node. */
  add(turn, parent = this.tip?.id ?? null) {
    this.#last += 1;
    const node = { id: this.#last, parent: parent ?? ROOT, chosen: null, turn };
    this.#nodes.set(node.id, node);
    this.#node(node.parent).chosen = node.id;
    return node;
  }

  /** The ids that stand at a node's place, itself included, oldest first. */
  branches(id) {
    const parent = this.#node(id).parent;
    return [...this.#nodes.values()].filter((node) => node.parent === parent).map((node) => node.id);
  }

  /** Show node `id`, and below it what was last shown there. */
  choose(id) {
    const node = this.#node(id);
    this.#node(node.parent).chosen = id;
  }

  /** The parent to give `add` for a turn beside node `id`. */
  parentOf(id) {
    const parent = this.#node(id).parent;
    return parent === ROOT ? null : parent;
  }

  /** Take a leaf away; the branch beside it, if there is one, is shown. */
  remove(id) {
    const beside = this.branches(id).filter((other) => other !== id);
    const parent = this.#node(this.#node(id).parent);
    if (parent.chosen === id) parent.chosen = beside.at(-1) ?? null;
    this.#nodes.delete(id);
  }

  /** The turns before node `id` (of the whole shown path without one), as the API takes them. */
  messages(before = null) {
    const path = this.path;
    const end = before === null ? path.length : path.findIndex((node) => node.id === before);
    return path.slice(0, end).map(({ turn }) => ({ role: turn.role, content: turn.content }));
  }

  /** Plain data from which `TalkTree.from` makes the same tree. */
  toJSON() {
    return { last: this.#last, nodes: [...this.#nodes.values()] };
  }

  /** Throws a TypeError where `saved` is not what `toJSON` gave. */
  static from(saved) {
    const tree = new TalkTree();
    tree.#nodes = new Map(saved.nodes.map((node) => [node.id, node]));
    tree.#last = saved.last;
    if (!tree.#nodes.has(ROOT)) throw new TypeError("a talk without its root");
    return tree;
  }

  #node(id) {
    const node = this.#nodes.get(id);
    if (node === undefined) throw new TypeError(`no turn ${id}`);
    return node;
  }
}

export function otherRole(role) {
  return role === "user" ? "assistant" : "user";
}

/** Whose turn it is after these messages; the user opens. */
export function nextRole(messages) {
  const last = messages.at(-1);
  return last === undefined ? "user" : otherRole(last.role);
}
