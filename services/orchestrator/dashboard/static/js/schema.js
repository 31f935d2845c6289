// The API's own description: what a field of a request means, its default and its bounds.

import { get } from "./api.js";

/** What OpenAPI says of a run's spec. */
export class SpecSchema {
  #schemas;

  constructor(openapi) {
    this.#schemas = openapi.components.schemas;
  }

  static async load() {
    return new SpecSchema(await get("/openapi.json"));
  }

  /** A field by its way from the spec (`limits.dead`): `{type, description, default, minimum, maximum, choices}`. */
  field(name) {
    let node = this.#schemas.RunSpec;
    let given = {};
    for (const part of name.split(".")) {
      node = this.#resolved(node.properties[part]);
      given = given[part] ?? node.default ?? {};
    }
    const isPlain = typeof given !== "object" || given === null;
    return {
      type: node.type,
      description: node.description ?? "",
      default: isPlain ? given : (node.default ?? null),
      minimum: node.minimum ?? (node.exclusiveMinimum === undefined ? undefined : "any"),
      maximum: node.maximum,
      choices: node.enum ?? null,
    };
  }

  /** Without `$ref`, and for `X or null` the X; what stands beside counts. */
  #resolved(node) {
    const { $ref, anyOf, allOf, ...own } = node;
    const inner = $ref
      ? this.#schemas[$ref.split("/").at(-1)]
      : (anyOf ?? allOf)?.find((option) => option.type !== "null");
    return inner ? { ...this.#resolved(inner), ...own } : node;
  }
}
