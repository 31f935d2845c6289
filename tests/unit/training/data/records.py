"""Dialogues for the tests of this folder, as records, files and encoded turns."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import IGNORE_INDEX, Turn
from platolm.tokenizer import TextTokenizer
from training.data.dialogues import Dialogue


def record(*texts: str) -> dict[str, Any]:
    """A ShareGPT record that the user begins."""
    return {"conversations": [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]}


def write_lines(path: Path, records: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in records), encoding="utf-8")
    return path


def dialogue(tokenizer: TextTokenizer, *texts: str, first: str = USER) -> Dialogue:
    """An encoded dialogue with alternating roles."""
    roles = (USER, ASSISTANT) if first == USER else (ASSISTANT, USER)
    return Dialogue([Turn(roles[i % 2], text, tokenizer.encode(text)) for i, text in enumerate(texts)])


def labelled_runs(labels: Iterable[int]) -> list[list[int]]:
    """The stretches of labels between positions without loss."""
    runs: list[list[int]] = [[]]
    for label in labels:
        if label != IGNORE_INDEX:
            runs[-1].append(int(label))
        elif runs[-1]:
            runs.append([])
    return [run for run in runs if run]


def labelled_text(tokenizer: TextTokenizer, labels: Iterable[int]) -> str:
    """Decoded labels, with `<` and `>` for bos and eos."""
    marks = {tokenizer.bos_id: "<", tokenizer.eos_id: ">"}
    return "".join(marks.get(i) or tokenizer.decode([i]) for run in labelled_runs(labels) for i in run)
