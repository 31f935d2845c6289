"""Records and dialogues as these tests need them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.dialogue import Dialogue
from curation.stats.intervals import Estimate
from platolm.conversation import ASSISTANT, USER, Message

NAMES = ("human", "gpt")
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def record(identifier: str, *contents: str, **fields: Any) -> dict[str, Any]:
    """A ShareGPT record whose turns alternate from the user."""
    said = [{"from": NAMES[number % 2], "value": content} for number, content in enumerate(contents)]
    return {"id": identifier, "conversations": said, **fields}


def dialogue(*contents: str, **fields: Any) -> Dialogue:
    """The same as it is read."""
    roles = (USER, ASSISTANT)
    messages = tuple(Message(roles[number % 2], content) for number, content in enumerate(contents))
    return Dialogue("d", messages, "file:1", fields)


def ends(estimate: Estimate | None) -> tuple[float, float]:
    """The interval of an estimate that has one."""
    assert estimate is not None
    assert estimate.low is not None
    assert estimate.high is not None
    return estimate.low, estimate.high


def counts(*numbers: int) -> list[dict[str, int]]:
    """A record's `turns` that carry token counts."""
    return [{"num_tokens": number} for number in numbers]


def written(path: Path, records: Sequence[Any]) -> Path:
    """A file of JSON lines; a string is a line as it is."""
    lines = (one if isinstance(one, str) else json.dumps(one, ensure_ascii=False) for one in records)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def varied(number: int) -> dict[str, Any]:
    """One of many records that differ in length, rounds and words."""
    words = " ".join(LETTERS[number * 7 % 26] + LETTERS[place * number % 13] for place in range(1 + number % 17))
    contents = [f"{words} {place}" for place in range(2 + 2 * (number % 3))]
    turns = counts(*(len(content.split()) for content in contents))
    return record(f"r{number}", *contents, turns=turns, termination_reason=("turn_limit", "empty")[number % 2])
