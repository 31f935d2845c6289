// Asking before something that cannot be taken back.

import { h } from "./dom.js";

/** A dialog with a question; resolves to whether `action` was pressed. Escape and Back mean no. */
export function confirmed({ title, text, action }) {
  const { promise, resolve } = resolvable();
  const heading = h("h2", { id: "confirm-title" }, title);
  const yes = h("button", { class: "button button--danger", value: "yes" }, action);
  const no = h("button", { class: "button", value: "no", autofocus: true }, "Back");
  const form = h(
    "form",
    { method: "dialog", class: "stack" },
    heading,
    h("p", {}, text),
    h("div", { class: "toolbar" }, no, yes),
  );
  const dialog = h("dialog", { "aria-labelledby": "confirm-title" }, form);
  dialog.addEventListener("close", () => {
    resolve(dialog.returnValue === "yes");
    dialog.remove();
  });
  document.body.append(dialog);
  dialog.showModal();
  return promise;
}

function resolvable() {
  let resolve;
  const promise = new Promise((done) => (resolve = done));
  return { promise, resolve };
}
