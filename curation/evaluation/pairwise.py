"""AlpacaEval's comparison: which of two answers a judge prefers, in an order that the instruction decides."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curation.evaluation.answering import turns_of
from curation.evaluation.journal import Row
from curation.evaluation.judging import UNRATED, JudgeTask, TaskKey
from curation.evaluation.prompts import JudgePrompts
from curation.evaluation.ratings import preference_of
from curation.evaluation.suites.alpaca_eval import generator_of
from curation.evaluation.suites.suite import Question, QuestionId

_ONLY_TURN = 1


def pair_tasks(
    questions: Sequence[Question], answers: Mapping[QuestionId, Row], prompts: JudgePrompts
) -> list[JudgeTask]:
    """A comparison for each answered instruction, which has a reference; its score, 0 to 1, is the model's part."""
    return [
        _pair_task(question, turns_of(question, answers[question.id])[0], prompts)
        for question in questions
        if question.id in answers
    ]


def _pair_task(question: Question, output: str, prompts: JudgePrompts) -> JudgeTask:
    model_first = comes_first(question)
    outputs = (output, question.references[0]) if model_first else (question.references[0], output)
    fields = {"instruction": question.turns[0], "output_1": outputs[0], "output_2": outputs[1]}
    prompt = prompts.pair
    noted = {"model_first": model_first}
    return JudgeTask(question, _ONLY_TURN, prompt.name, prompt.filled(fields), _reader(model_first=model_first), noted)


def _reader(*, model_first: bool) -> Callable[[str], float | None]:
    def read(judgment: str) -> float | None:
        preference = preference_of(judgment)
        return preference if preference is None or model_first else 1.0 - preference

    return read


def comes_first(question: Question) -> bool:
    """Whether the model's answer stands first: for about half of the instructions, always the same ones."""
    return hashlib.sha256(question.turns[0].encode("utf-8", "replace")).digest()[0] % 2 == 0


def model_outputs(
    questions: Sequence[Question], answers: Mapping[QuestionId, Row], model_id: str
) -> list[dict[str, Any]]:
    """The content of AlpacaEval's `model_outputs.json`: what was answered, in the order of the questions."""
    return [
        {
            "instruction": question.turns[0],
            "output": turns_of(question, answers[question.id])[0],
            "generator": model_id,
            "dataset": question.category,
        }
        for question in questions
        if question.id in answers
    ]


def pair_annotations(
    questions: Sequence[Question],
    answers: Mapping[QuestionId, Row],
    judgments: Mapping[TaskKey, Row],
    model_id: str,
    judge_id: str,
) -> list[dict[str, Any]]:
    """The content of AlpacaEval's `annotations.json`: output 1 is the reference's; a preference of 2: the model's."""
    return [
        _annotation(question, answers[question.id], judgments[question.id, _ONLY_TURN], model_id, judge_id)
        for question in questions
        if (question.id, _ONLY_TURN) in judgments
    ]


def _annotation(question: Question, answer: Row, judgment: Row, model_id: str, judge_id: str) -> dict[str, Any]:
    score = judgment["score"]
    return {
        "instruction": question.turns[0],
        "output_1": question.references[0],
        "generator_1": generator_of(question),
        "dataset": question.category,
        "output_2": turns_of(question, answer)[0],
        "generator_2": model_id,
        "annotator": judge_id,
        "preference": None if score == UNRATED else 1.0 + score,
        "raw_completion": judgment["judgment"],
    }
