"""Files of made-up records for whole cleanings."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

WORDS = """
garden river swallow winter bread kettle window letter harbour morning lantern basket copper orchard meadow violin
carpet engine pepper thunder ladder pocket silver mirror forest
""".split()  # noqa: SIM905


def record(identifier: str, *texts: str, **fields: Any) -> dict[str, Any]:
    """A ShareGPT record in which a person and an assistant speak in turn."""
    turns = [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]
    return {"id": identifier, "conversations": turns, **fields}


def prose(number: int, count: int = 40) -> str:
    """English words, others for each number."""
    chosen = random.Random(number).choices(WORDS, k=count)
    return f"This is story {number} about the " + " and the ".join(chosen) + "."


def mixed(rounds_of_eight: int) -> list[Any]:
    """Eight records of every fate, so many times: English alone kept, three of eight stay.

    As it is, in HTML, exactly the first again, with a refusal at its end, German, a question alone, no dialogue at all,
    nearly the first again.
    """
    made: list[Any] = []
    for n in range(rounds_of_eight):
        said = [prose(n), prose(n + 1000), f"And then, number {n}?", prose(n + 2000)]
        html = f"<p>{prose(n + 3000)}</p><pre><code class='language-python'>x = {n}\n</code></pre>"
        made += [
            record(f"plain{n}", *said, model="m"),
            record(f"html{n}", prose(n + 4000), html),
            record(f"again{n}", *said, model="other"),
            record(f"refused{n}", prose(n + 5000), prose(n + 6000), "Why?", "I'm sorry, but I can't assist with that."),
            record(
                f"german{n}", "Wohin fliegen die Schwalben im Winter?", f"Nach Afrika, und zwar alle {n}, sagt man."
            ),
            record(f"short{n}", f"Only a question {n}"),
            {"id": f"none{n}", "text": "no dialogue"},
            record(f"near{n}", *said[:3], said[3] + " Indeed."),
        ]
    return made


def write_json(path: Path, records: Sequence[Any]) -> Path:
    path.write_text(json.dumps(records, ensure_ascii=False), encoding="utf-8")
    return path


def write_lines(path: Path, records: Iterable[Any]) -> Path:
    """One record a line; a text is written as it is."""
    lines = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in records)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]
