"""Small question files in the suites' forms, written for these tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

MT_QUESTIONS: tuple[dict[str, Any], ...] = (
    {"question_id": 81, "category": "writing", "turns": ["Write of a pond.", "Now in one line."]},
    {
        "question_id": 111,
        "category": "math",
        "turns": ["What is 2 + 3?", "And twice that?"],
        "reference": ["5", "10"],
    },
    {"question_id": 112, "category": "math", "turns": ["What is 9 - 4?", "Why {question}?"]},
    {"question_id": 151, "category": "humanities", "turns": ["Who was Ada?", "Where did she live?"]},
)

VICUNA_QUESTIONS: tuple[dict[str, Any], ...] = (
    {"question_id": 1, "category": "generic", "turns": ["How do I sleep better?"]},
    {"question_id": 2, "category": "fermi", "turns": ["How many leaves has an oak?"]},
)

ALPACA_QUESTIONS: tuple[dict[str, Any], ...] = tuple(
    {
        "instruction": f"Say something of {thing}.",
        "output": f"{thing} is fine.",
        "generator": "davinci",
        "dataset": dataset,
    }
    for thing, dataset in (("tea", "koala"), ("rain", "koala"), ("moss", "oasst"), ("iron", "oasst"), ("wax", "vicuna"))
)

FASTCHAT_PROMPTS: tuple[dict[str, Any], ...] = tuple(
    {
        "name": name,
        "type": "single",
        "system_prompt": f"judge by {name}",
        "prompt_template": template,
        "output_format": "[[rating]]",
    }
    for name, template in (
        ("single-v1", "Q {question} A {answer}"),
        ("single-math-v1", "Q {question} R {ref_answer_1} A {answer}"),
        ("single-v1-multi-turn", "Q {question_1} A {answer_1} Q {question_2} A {answer_2}"),
        (
            "single-math-v1-multi-turn",
            "Q {question_1} R {ref_answer_1} Q {question_2} R {ref_answer_2} A {answer_1} A {answer_2}",
        ),
    )
)


def write_lines(path: Path, records: Sequence[dict[str, Any]]) -> Path:
    """JSON lines."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of JSON lines."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]
