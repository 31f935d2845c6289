"""What an evaluation is asked to be: a suite, its files, who answers, who judges."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from curation.evaluation.answering import AnswerSampling
from curation.evaluation.endpoint import EndpointSettings
from curation.evaluation.judging import JudgingSettings, has_reference
from curation.evaluation.prompts import (
    JudgePrompts,
    installed_pair_prompt,
    own_pair_prompts,
    own_single_prompts,
    read_pair_prompt,
    read_single_prompts,
)
from curation.evaluation.suites.alpaca_eval import read_outputs
from curation.evaluation.suites.fastchat import read_references, with_references
from curation.evaluation.suites.suite import Judging, Question, Suite
from platolm.errors import InputError


@dataclass(frozen=True)
class JudgePlan:
    """Who judges, and how. `prompts` None: ours."""

    endpoint: EndpointSettings
    judge_id: str | None = None
    prompts: Path | None = None
    settings: JudgingSettings = field(default_factory=JudgingSettings)


@dataclass(frozen=True)
class EvaluationPlan:
    """One evaluation. `judge` None: answers only. `first`: so many questions, None all; `references`: another file's.

    `model_id`, and the judge's, are the names in the suite's files; None: made of the models'.
    """

    suite: Suite
    questions: Path
    out: Path
    respondent: EndpointSettings
    sampling: AnswerSampling
    model_id: str | None = None
    judge: JudgePlan | None = None
    references: Path | None = None
    first: int | None = None


def read_plan_questions(plan: EvaluationPlan) -> tuple[list[Question], list[Question]]:
    """All questions as their file has them, and those to be worked on, with their references.

    Raises:
        InputError: a file is not the suite's, or there is nothing that answers could be compared with.
    """
    questions = plan.suite.read_questions(plan.questions)
    wanted = _with_references(plan, questions)[: plan.first]
    if plan.judge is not None and plan.suite.judging is Judging.PAIR:
        _require_references(wanted)
    return questions, wanted


def _require_references(questions: list[Question]) -> None:
    for question in questions:
        if not question.references:
            raise InputError(
                f"instruction {question.id} has no output to be compared with: give the reference model's outputs, "
                f"AlpacaEval's alpaca_eval.json, with --references"
            )


def _with_references(plan: EvaluationPlan, questions: list[Question]) -> list[Question]:
    if plan.references is None:
        return questions
    if plan.suite.judging is Judging.PAIR:
        found = read_outputs(plan.references, questions)
    else:
        found = list(with_references(questions, read_references(plan.references)))
    if not any(question.references for question in found):
        raise InputError(f"{plan.references} answers none of the questions in {plan.questions}: is it this suite's?")
    return found


def judge_prompts(suite: Suite, path: Path | None) -> JudgePrompts:
    """The prompts of a file, or of the suite's package where it is installed, or ours, for the suite's kind of judging.

    Raises:
        InputError: the file has not what the suite needs.
    """
    if suite.judging is Judging.PAIR:
        path = path or installed_pair_prompt()
        return own_pair_prompts() if path is None else read_pair_prompt(path)
    return own_single_prompts() if path is None else read_single_prompts(path)


def reservations(
    plan: EvaluationPlan, prompts: JudgePrompts, judge_model: str, judged: list[Question], num_all: int
) -> list[str]:
    """Why scores are not comparable with published ones; none: nothing that could be told from here.

    Args:
        judged: the questions that have a score.
        num_all: questions of the file.
    """
    suite = plan.suite
    said = []
    if prompts.is_own:
        said.append("judged with this project's own prompts, not the suite's (--judge-prompts)")
    if suite.published is not None and judge_model.split("/")[-1] != suite.published.judge:
        said.append(f"judged by {judge_model}, the published scores by {suite.published.judge}")
    if len(judged) != suite.num_questions:
        said.append(f"over {len(judged)} questions, the suite has {suite.num_questions} (the file given: {num_all})")
    if plan.sampling.temperature is not None:
        said.append(f"answered at temperature {plan.sampling.temperature}, not the suite's")
    return said + _about_references(plan, judged)


def _about_references(plan: EvaluationPlan, judged: list[Question]) -> list[str]:
    wanted = [question for question in judged if question.category in plan.suite.reference_categories]
    missing = sum(not has_reference(plan.suite, question) for question in wanted)
    said = []
    if missing:
        said.append(f"judged without a reference answer, though of {_listed(plan.suite)}: {missing} questions")
    if wanted and missing < len(wanted) and plan.references is None:
        said.append("reference answers are the question file's, not the suite's reference_answer file (--references)")
    return said


def _listed(suite: Suite) -> str:
    return ", ".join(sorted(suite.reference_categories))
