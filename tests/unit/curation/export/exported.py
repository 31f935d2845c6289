"""Datasets to hand on: a run's folder with marks, and files of what people send."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from platolm.marks import MarkRequest, MarkValue, keep_mark
from platolm.storage import LocalPlace
from tests.browsed_dataset import dataset, said

ENDINGS = ("turn_limit", "context_full", "user_ended")


def run_folder(folder: Path, num_conversations: int = 12) -> Path:
    """Conversations of 1 to 3 rounds in two segments; the third is marked good, the fourth bad."""
    talks = [
        said(i, *(f"{'Say' if j % 2 else 'Ask'} {i} {j}" for j in range(2 * (i % 3 + 1))), ending=ENDINGS[i % 3])
        for i in range(num_conversations)
    ]
    place = LocalPlace(folder)
    dataset(place, [talks[: num_conversations // 2], talks[num_conversations // 2 :]])
    keep_mark(place, 2, MarkRequest(mark=MarkValue.GOOD, note="private"))
    keep_mark(place, 3, MarkRequest(mark=MarkValue.BAD))
    return folder


def sharegpt(identifier: str, *turns: tuple[str, str], **fields: Any) -> dict[str, Any]:
    return {"id": identifier, "conversations": [{"from": name, "value": text} for name, text in turns], **fields}


def lines_file(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


IRREGULAR = (
    sharegpt("hanging", ("human", "Tea?"), ("gpt", "Yes."), ("human", "Why?")),
    sharegpt("system", ("system", "Be kind."), ("human", "Milk?"), ("gpt", "No.")),
    sharegpt("twice", ("human", "a"), ("human", "b"), ("gpt", "c")),
    sharegpt("gpt-first", ("gpt", "Hello"), ("human", "Hi")),
    sharegpt("tool", ("human", "a"), ("function_call", "{}"), ("observation", "1"), ("gpt", "One.")),
    sharegpt("empty", ("human", "a"), ("gpt", " ")),
    sharegpt("alone", ("human", "Anybody?")),
    {"nothing": 1},
)
"""One regular dialogue with a system message, one that can be cut, and what other trainers refuse."""
