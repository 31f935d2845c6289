/** A record as it is in the dataset: to unfold, copy and download. Written out only when somebody looks. */

import { copy, h, replace } from "./dom.js";

export class RawJson {
  #value = null;
  #name;
  #pre = h("pre", { class: "raw__text", tabindex: "0", "aria-label": "Raw JSON" });

  /** `name`: the downloaded file's, without `.json`. */
  constructor(name) {
    this.#name = name;
    const button = (text, act) => h("button", { type: "button", class: "button", onclick: act }, text);
    const copyButton = button("Copy JSON", () => copy(this.#text(), copyButton));
    this.element = h(
      "details",
      { class: "card raw", ontoggle: () => this.#show() },
      h("summary", {}, "Raw JSON"),
      h("div", { class: "toolbar" }, copyButton, button("Download JSON", () => this.#download())),
      this.#pre,
    );
  }

  set(value) {
    this.#value = value;
    this.#show();
  }

  #text() {
    return JSON.stringify(this.#value, null, 2);
  }

  #show() {
    if (this.element.open) replace(this.#pre, this.#text());
  }

  #download() {
    const url = URL.createObjectURL(new Blob([this.#text(), "\n"], { type: "application/json" }));
    const link = h("a", { href: url, download: `${this.#name}.json` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(url), 10_000);
  }
}
