"""docs/formats.md: the run spec, seed forms, the dataset's records and its manifest, from the models that read them."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from enum import StrEnum

from pydantic import BaseModel

from platolm.chat_apis.endpoints import ChatEndpoint
from platolm.conversation import TerminationReason
from platolm.dataset import ConversationRecord, ManifestEntry
from platolm.endings import FinishReason
from platolm.marks import Mark
from platolm.seed_modes import Seed, SeedMode
from platolm.seeds import ANSWER_KEYS, QUESTION_KEYS
from platolm.spec import RunSpec
from reference.markdown import anchor, code, one_line, page, table
from reference.schemas import Schema, answer_table, fields_table, named_in

ABOUT = """\
Files and records that this project reads and writes. `platolm run --show` prints a spec with every value;
`GET /openapi.json` of the [API](http-api.md) has the same as JSON schemas."""

SPEC = """\
YAML or JSON. Fields that are left out have their defaults, unknown ones are refused, and every mistake is named at
once with its line. `seeds` of a file that `platolm run` reads names the seed file, by its path from there."""

SEEDS = f"""\
JSON lines or one JSON list, plain, gzip or zstd. Of a record

- the question is {", ".join(code(key) for key in QUESTION_KEYS)} (`instruction` with an `input` below it), or the first
  user turn of a conversation (`conversations`, `messages`);
- the answer, in exchange mode, is {", ".join(code(key) for key in ANSWER_KEYS)}, or the turn after that.

Over HTTP a seed has these fields, of which its mode needs some:"""

RECORDS = """\
A line of `sharegpt.jsonl`, and of a segment in `segments/` (JSON lines in zstd, or Parquet). `turns` has as many
entries as `conversations`, each about the utterance at the same position."""

MANIFEST = """\
`manifest/00000001.json` and so on, without gaps: a segment counts when the manifest names it."""

MARKS = "`marks/00000012.json`: what a person thinks of conversation 12."

APIS = """\
The operator's file of [chat APIs](outside-apis.md#the-operators-file): `apis`, by names of the operator's own, each
with"""


def formats_page() -> str:
    """The whole page."""
    return page(
        "Formats",
        ABOUT,
        _section("Run spec", SPEC, RunSpec),
        _enumeration("Seed modes", SeedMode),
        _section("Seeds", SEEDS, Seed),
        _section("Records", RECORDS, ConversationRecord, is_given=True),
        _enumeration("Termination reasons", TerminationReason),
        _enumeration("Finish reasons", FinishReason),
        _section("Manifest entries", MANIFEST, ManifestEntry, is_given=True),
        _section("Marks", MARKS, Mark, is_given=True),
        _section("Chat APIs", APIS, ChatEndpoint),
    )


def meanings_of(enumeration: type[StrEnum]) -> Iterator[tuple[str, str]]:
    """Each value with the docstring below it, if there is one."""
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(enumeration))).body
    assert isinstance(definition, ast.ClassDef)
    for statement, below in zip(definition.body, [*definition.body[1:], None], strict=True):
        if isinstance(statement, ast.Assign) and isinstance(statement.targets[0], ast.Name):
            is_docstring = isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant)
            said = str(below.value.value) if is_docstring else ""  # type: ignore[union-attr]
            yield enumeration[statement.targets[0].id].value, one_line(said)


def _section(title: str, about: str, model: type[BaseModel], *, is_given: bool = False) -> str:
    """A model's fields, and below them those of the models in it; enumerations are named in place."""
    schema = model.model_json_schema(mode="serialization" if is_given else "validation")
    inner = schema.get("$defs", {})
    tabled = answer_table if is_given else fields_table

    def link(name: str) -> str:
        known = inner[name]
        if "enum" in known:
            return ", ".join(code(str(value)) for value in known["enum"])
        return f"[{name}](#{anchor(_heading(title, name))})"

    parts = [f"## {title}\n\n{about}\n\n{tabled(schema, link)}"]
    parts += [
        "\n\n".join(part for part in (f"### {_heading(title, name)}", _about(known), tabled(known, link)) if part)
        for name in named_in(schema, inner)
        if "enum" not in (known := inner[name])
    ]
    return "\n\n".join(parts)


def _heading(title: str, name: str) -> str:
    return f"{title}: {name}"


def _about(schema: Schema) -> str:
    return one_line(str(schema.get("description", "")).partition("\n\n")[0])


def _enumeration(title: str, enumeration: type[StrEnum]) -> str:
    rows = [(code(value), said) for value, said in meanings_of(enumeration)]
    return f"## {title}\n\n{table(['value', 'meaning'], rows)}"
