"""FastChat's files of questions and of reference answers, shared by the suites that it brought."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from curation.evaluation.suites.suite import Question, QuestionId
from platolm.errors import BadLine, BadLinesError
from platolm.jsonlines import read_json_records

MAX_TURNS = 2
REFERENCE_CATEGORIES = frozenset({"math", "reasoning", "coding"})
"""The categories whose answers FastChat's judge compares with a reference."""
NUM_QUESTIONS = 80
MAX_TOKENS = 1024


def read_questions(path: Path) -> list[Question]:
    """Questions of a `question.jsonl`: `{"question_id", "category", "turns", "reference"?}`.

    Raises:
        BadLinesError: lines that are no questions, or two questions with one id.
    """
    questions: list[Question] = []
    bad: list[BadLine] = []
    seen: set[QuestionId] = set()
    for number, record in read_json_records(path):
        question = _question(number, record)
        if isinstance(question, Question) and question.id in seen:
            question = BadLine(number, f"question {question.id} is there twice")
        if isinstance(question, BadLine):
            bad.append(question)
            continue
        seen.add(question.id)
        questions.append(question)
    if bad or not questions:
        raise BadLinesError(f"{path} is no question.jsonl of the suite: give its file with --questions", bad)
    return questions


def _question(number: int, record: Any) -> Question | BadLine:
    if isinstance(record, BadLine):
        return record
    if not isinstance(record, Mapping) or not isinstance(record.get("question_id"), int | str):
        return BadLine(number, "it needs a question_id")
    turns = _texts(record.get("turns"))
    if not turns or len(turns) > MAX_TURNS:
        return BadLine(number, f"it needs turns: a list of one to {MAX_TURNS} texts")
    references = _texts(record.get("reference") or []) or ()
    category = str(record.get("category") or "general")
    return Question(record["question_id"], category, turns, references[: len(turns)], record)


def _texts(value: Any) -> tuple[str, ...] | None:
    if isinstance(value, Sequence) and not isinstance(value, str) and all(isinstance(one, str) for one in value):
        return tuple(value)
    return None


def read_references(path: Path) -> dict[QuestionId, tuple[str, ...]]:
    """Answers by question id, of a file in FastChat's form for a model's answers.

    Raises:
        BadLinesError: lines that are no answers.
    """
    answers: dict[QuestionId, tuple[str, ...]] = {}
    bad: list[BadLine] = []
    for number, record in read_json_records(path):
        turns = record if isinstance(record, BadLine) else _answer_turns(record)
        if isinstance(turns, BadLine):
            bad.append(turns)
        elif turns is None:
            bad.append(BadLine(number, "it needs a question_id and choices with turns"))
        else:
            answers[record["question_id"]] = turns
    if bad or not answers:
        raise BadLinesError(f"{path} holds no reference answers in FastChat's form", bad)
    return answers


def _answer_turns(record: Any) -> tuple[str, ...] | None:
    try:
        turns = _texts(record["choices"][0]["turns"])
        return turns if isinstance(record["question_id"], int | str) else None
    except (KeyError, IndexError, TypeError):
        return None


def with_references(questions: Sequence[Question], answers: Mapping[QuestionId, tuple[str, ...]]) -> Iterator[Question]:
    """The questions with the answers of a file in place of their own references; none where it has none."""
    for question in questions:
        yield replace(question, references=answers.get(question.id, ()))
