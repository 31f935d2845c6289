"""AlpacaEval 1 (Li et al. 2023): 805 instructions of five sets, each answer compared with text-davinci-003's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation.evaluation.suites.suite import Judging, Published, Question, Suite
from platolm.errors import BadLine, BadLinesError
from platolm.jsonlines import read_json_records

UNKNOWN_DATASET = "alpaca_eval"
UNKNOWN_GENERATOR = "reference"


def read_instructions(path: Path) -> list[Question]:
    """Records `{"instruction", "input"?, "output"?, "generator"?, "dataset"?}`; ids are numbers from 1.

    An `output` is the answer to be compared with, so that the suite's reference outputs are a file of questions too.

    Raises:
        BadLinesError: records that are no instructions.
    """
    questions: list[Question] = []
    bad: list[BadLine] = []
    for number, record in read_json_records(path):
        question = _question(number, record)
        if isinstance(question, BadLine):
            bad.append(question)
        else:
            questions.append(question)
    if bad or not questions:
        raise BadLinesError(f"{path} is no file of AlpacaEval's: give its alpaca_eval.json with --questions", bad)
    return questions


def _question(number: int, record: Any) -> Question | BadLine:
    if isinstance(record, BadLine):
        return record
    if not isinstance(record, Mapping) or not isinstance(record.get("instruction"), str):
        return BadLine(number, "it needs an instruction")
    further = record.get("input")
    instruction = f"{record['instruction']}\n\n{further}" if further else record["instruction"]
    output = record.get("output")
    references = (output,) if isinstance(output, str) else ()
    return Question(number, str(record.get("dataset") or UNKNOWN_DATASET), (instruction,), references, record)


def generator_of(question: Question) -> str:
    """Who made the reference answer."""
    return str(question.record.get("generator") or UNKNOWN_GENERATOR)


def read_outputs(path: Path, questions: list[Question]) -> list[Question]:
    """The questions with another file's outputs as references, by instruction; none where it has none.

    Raises:
        BadLinesError: records that are no instructions.
    """
    outputs = {one.turns[0]: one for one in read_instructions(path) if one.references}
    return [_with_output(question, outputs.get(question.turns[0])) for question in questions]


def _with_output(question: Question, found: Question | None) -> Question:
    if found is None:
        return replace(question, references=())
    record = {**question.record, "generator": generator_of(found)}
    return replace(question, references=found.references, record=record)


ALPACA_EVAL = Suite(
    name="alpaca-eval",
    bench_name="alpaca_eval",
    judging=Judging.PAIR,
    num_questions=805,
    max_tokens=2048,
    read_questions=read_instructions,
    published=Published("PlatoLM-7B (paper)", "gpt-4", 81.94),
    scale=100.0,
)
