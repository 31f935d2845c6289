"""A scripted respondent and a scripted judge, and plans of small evaluations with them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation.evaluation.answering import AnswerSampling
from curation.evaluation.endpoint import EndpointSettings
from curation.evaluation.plan import EvaluationPlan, JudgePlan
from curation.evaluation.suites import SUITES
from tests.fakes.chat_server import Body, ChatServer, last_message
from tests.unit.curation.evaluation.question_files import (
    ALPACA_QUESTIONS,
    FASTCHAT_PROMPTS,
    MT_QUESTIONS,
    VICUNA_QUESTIONS,
    write_lines,
)

QUESTIONS = {"mt-bench": MT_QUESTIONS, "vicuna-bench": VICUNA_QUESTIONS, "alpaca-eval": ALPACA_QUESTIONS}


def rate(body: Body) -> str:
    """8 for first turns, 5 for second ones, and a judgment without a mark for question 151's second."""
    asked = last_message(body)
    if "Where did she live?" in asked:
        return "I cannot say."
    second = any(said in asked for said in ("Now in one line.", "And twice that?", "Why {question}?"))
    return f"It will do.\n[[{5 if second else 8}]]"


def prefer_the_model(body: Body) -> str:
    """The scripted respondent's answer, which begins with "answer"; the reference where moss is the matter."""
    asked = last_message(body)
    first, second = asked.index("=== answer A ==="), asked.index("=== answer B ===")
    model_is_first = asked[first:second].splitlines()[1].startswith("answer")
    return "[[A]]" if model_is_first != ("moss" in asked) else "[[B]]"


@pytest.fixture
def respondent() -> Iterator[ChatServer]:
    with ChatServer(("some/demo",)).running() as server:
        yield server


@pytest.fixture
def judge() -> Iterator[ChatServer]:
    with ChatServer(("gpt-4",), says=rate).running() as server:
        yield server


PlanMaker = Callable[..., EvaluationPlan]


@pytest.fixture
def plan_of(tmp_path: Path, respondent: ChatServer, judge: ChatServer) -> PlanMaker:
    """A plan of a suite's small questions, with FastChat's prompts where it rates; fields of the plan change it."""

    def make(suite: str = "mt-bench", **changes: Any) -> EvaluationPlan:
        questions = write_lines(tmp_path / f"{suite}.jsonl", QUESTIONS[suite])
        prompts = write_lines(tmp_path / "judge_prompts.jsonl", FASTCHAT_PROMPTS)
        plan = EvaluationPlan(
            suite=SUITES[suite],
            questions=questions,
            out=tmp_path / "out",
            respondent=EndpointSettings("respondent", respondent.url, "RESPONDENT_KEY", max_retries=1),
            sampling=AnswerSampling(SUITES[suite].max_tokens),
            judge=JudgePlan(
                EndpointSettings("judge", judge.url, "JUDGE_KEY", max_retries=1),
                prompts=None if suite == "alpaca-eval" else prompts,
            ),
        )
        return replace(plan, **changes)

    return make
