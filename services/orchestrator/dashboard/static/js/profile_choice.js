// A side's profile in the form of a run: what the chosen one is, and what it changes in the fields beside it.

import { setText } from "./dom.js";
import { SpecField } from "./spec_field.js";

const OFFERED = { "simulator.profile": "simulators", "respondent.profile": "respondents" };

/** The profiles that a field chooses from, of a ProfileList; undefined: it chooses none. */
export const offeredFor = (name, profiles) => profiles[OFFERED[name]];

/** Choose one of `offered`, as the API lists them; the fields of its side then have its sampling as defaults. */
export class ProfileField extends SpecField {
  #offered;
  #side;

  constructor(name, label, about, offered) {
    super(name, label, { ...about, choices: offered.map((profile) => profile.name) });
    this.#offered = new Map(offered.map((profile) => [profile.name, profile]));
    this.#side = name.split(".")[0];
    this.help.setAttribute("aria-live", "polite");
  }

  /** Follow the choice; `fields`: all of the form, by name. */
  follow(fields) {
    const show = () => this.#show(fields);
    this.control.addEventListener("change", show);
    show();
  }

  #show(fields) {
    const { about, needs, sampling } = this.#offered.get(this.control.value);
    setText(this.help, needs.length ? `${about} It has to be told one of ${needs.join(", ")}.` : about);
    const own = `${this.#side}.sampling.`;
    for (const [name, field] of fields) {
      if (name.startsWith(own)) field.setDefault(sampling[name.slice(own.length)] ?? null, "the model's own");
    }
  }
}
