// Sending a run so that pressing twice, or again after a lost answer, starts it once.

import { post } from "./api.js";

export class Submission {
  #key = null;
  #body = null;

  /** The run; the same body gets the same Idempotency-Key until one was answered. Throws ApiError. */
  async send(request) {
    const body = JSON.stringify(request);
    if (body !== this.#body) [this.#body, this.#key] = [body, newKey()];
    return post("/v1/runs", request, { headers: { "Idempotency-Key": this.#key } });
  }
}

/** 128 random bits in hex; `crypto.randomUUID` is missing on pages without https. */
function newKey() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
