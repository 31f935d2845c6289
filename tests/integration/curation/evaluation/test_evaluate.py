"""Evaluations with a scripted respondent and a scripted judge: what is asked, written, and not asked again."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from curation.evaluation.answering import AnswerSampling
from curation.evaluation.evaluate import evaluate
from curation.evaluation.plan import JudgePlan
from platolm.errors import InputError, OccupiedError
from tests.fakes.chat_server import Body, ChatServer, Refusal, echo, last_message
from tests.integration.curation.evaluation.conftest import PlanMaker, prefer_the_model
from tests.unit.curation.evaluation.question_files import ALPACA_QUESTIONS, MT_QUESTIONS, read_lines, write_lines

SHARED_DATA = Path(__file__).resolve().parents[5] / "shared" / "data"


class Steps:
    """Counts what was announced and done."""

    def __init__(self) -> None:
        self.announced: dict[str, int] = {}
        self.done: dict[str, int] = {}

    def begin(self, what: str, total: int) -> Callable[[], None]:
        self.announced[what] = total
        self.done[what] = 0

        def step() -> None:
            self.done[what] += 1

        return step


def refuse_long(body: Body) -> str | Refusal:
    return Refusal(400, "too many tokens") if "2 + 3" in last_message(body) else echo(body)


async def test_answers_and_judgments_in_fastchats_form(plan_of: PlanMaker, respondent: ChatServer) -> None:
    plan, steps = plan_of(), Steps()
    evaluation = await evaluate(plan, steps)
    assert evaluation.is_complete
    assert steps.announced == steps.done == {"answers": 4, "judgments": 8}
    assert read_lines(plan.out / "question.jsonl") == list(MT_QUESTIONS)

    answers = {row["question_id"]: row for row in read_lines(plan.out / "model_answer" / "demo.jsonl")}
    assert sorted(answers) == [81, 111, 112, 151]
    assert answers[111]["model_id"] == "demo"
    turns = ["answer 1 to What is 2 + 3?", "answer 3 to And twice that?"]
    assert answers[111]["choices"] == [{"index": 0, "turns": turns}]
    assert answers[111]["usage"] == {"prompt_tokens": 5 + 5 + 8 + 3, "completion_tokens": 8 + 6}
    assert len({row["answer_id"] for row in answers.values()}) == 4
    assert all(isinstance(row["tstamp"], float) for row in answers.values())

    asked = {last_message(body): body for body in respondent.asked}
    assert asked["And twice that?"] == {
        "model": "some/demo",
        "messages": [
            {"role": "user", "content": "What is 2 + 3?"},
            {"role": "assistant", "content": turns[0]},
            {"role": "user", "content": "And twice that?"},
        ],
        "temperature": 0.0,
        "max_tokens": 1024,
    }
    assert asked["Write of a pond."]["temperature"] == 0.7
    assert asked["Who was Ada?"]["temperature"] == 0.1

    rows = read_lines(plan.out / "model_judgment" / "gpt-4_single.jsonl")
    judged = {(row["question_id"], row["turn"]): row for row in rows}
    row = judged[111, 1]
    assert {key: row[key] for key in ("model", "judge", "user_prompt", "judgment", "score")} == {
        "model": "demo",
        "judge": ["gpt-4", "single-math-v1"],
        "user_prompt": f"Q What is 2 + 3? R 5 A {turns[0]}",
        "judgment": "It will do.\n[[8]]",
        "score": 8.0,
    }
    assert judged[151, 2]["score"] == -1


async def test_scores_by_category_and_turn(plan_of: PlanMaker, judge: ChatServer) -> None:
    judged = (await evaluate(plan_of(), Steps())).judged
    assert judged is not None
    scores = judged.scores
    assert scores.unrated == [(151, 2)]
    means = {turn: one.mean for turn, one in scores.total.by_turn.items() if one is not None}
    assert means == {1: 8.0, 2: 5.0}
    assert scores.total.overall is not None
    assert scores.total.overall.mean == (4 * 8 + 3 * 5) / 7
    assert [one.category for one in scores.categories] == ["humanities", "math", "writing"]
    assert {body["temperature"] for body in judge.asked} == {0.0}
    assert {body["max_tokens"] for body in judge.asked} == {2048}
    assert judged.reservations == [
        "over 4 questions, the suite has 80 (the file given: 4)",
        "judged without a reference answer, though of coding, math, reasoning: 1 questions",
        "reference answers are the question file's, not the suite's reference_answer file (--references)",
    ]


async def test_a_second_start_asks_nothing_and_says_the_same(
    plan_of: PlanMaker, respondent: ChatServer, judge: ChatServer
) -> None:
    plan = plan_of()
    first = await evaluate(plan, Steps())
    files = {path: path.read_bytes() for path in plan.out.rglob("*") if path.is_file()}
    num_asked, steps = (len(respondent.asked), len(judge.asked)), Steps()
    second = await evaluate(plan, steps)
    assert (len(respondent.asked), len(judge.asked)) == num_asked
    assert steps.announced == {"answers": 0, "judgments": 0}
    assert {path: path.read_bytes() for path in plan.out.rglob("*") if path.is_file()} == files
    assert first.judged is not None
    assert second.judged is not None
    assert second.judged.scores == first.judged.scores
    assert second.judged.spent.in_all == first.judged.spent.now
    assert second.judged.spent.now.prompt_tokens == 0
    assert second.answered.spent.in_all == first.answered.spent.now


async def test_a_trial_is_the_beginning_of_the_whole(plan_of: PlanMaker, respondent: ChatServer) -> None:
    trial = await evaluate(plan_of(first=1), Steps())
    assert (trial.answered.num_answered, trial.answered.num_questions) == (1, 1)
    whole = await evaluate(plan_of(), Steps())
    assert (whole.answered.num_answered, whole.answered.num_questions) == (4, 4)
    assert len(respondent.asked) == 8


async def test_answers_alone(plan_of: PlanMaker, judge: ChatServer) -> None:
    evaluation = await evaluate(plan_of(judge=None), Steps())
    assert evaluation.judged is None
    assert evaluation.is_complete
    assert judge.asked == []


async def test_what_the_server_does_not_take_is_left_out_named_and_asked_again(
    plan_of: PlanMaker, respondent: ChatServer
) -> None:
    plan = plan_of()
    respondent.says = refuse_long
    evaluation = await evaluate(plan, Steps())
    assert not evaluation.is_complete
    assert [one.question_id for one in evaluation.answered.failed] == [111]
    assert "too many tokens" in evaluation.answered.failed[0].reason
    assert evaluation.judged is not None
    assert evaluation.judged.scores.num_questions == 3
    respondent.says = echo
    again = await evaluate(plan, Steps())
    assert again.is_complete
    assert again.answered.num_answered == 4


async def test_what_a_failed_question_cost_is_counted(plan_of: PlanMaker, respondent: ChatServer) -> None:
    """Question 111 fails at its second turn; its first one was answered."""
    respondent.says = lambda body: Refusal(400, "too long") if "twice" in last_message(body) else echo(body)
    spent = (await evaluate(plan_of(judge=None), Steps())).answered.spent
    rows = read_lines(plan_of().out / "model_answer" / "demo.jsonl")
    assert spent.now == spent.in_all
    assert spent.now.prompt_tokens == sum(row["usage"]["prompt_tokens"] for row in rows) + 5
    assert spent.now.completion_tokens == sum(row["usage"]["completion_tokens"] for row in rows) + 8


async def test_references_of_another_suite_are_refused_before_anything_is_asked(
    plan_of: PlanMaker, respondent: ChatServer, tmp_path: Path
) -> None:
    row = {"question_id": 7, "choices": [{"index": 0, "turns": ["It is 5.", "10"]}]}
    plan = plan_of(references=write_lines(tmp_path / "gpt-4.jsonl", [row]))
    with pytest.raises(InputError, match=r"gpt-4\.jsonl answers none of the questions in .*: is it this suite's\?"):
        await evaluate(plan, Steps())
    assert respondent.asked == []
    rows = [row, {**row, "question_id": 111}]
    judged = (await evaluate(plan_of(references=write_lines(tmp_path / "gpt-4.jsonl", rows)), Steps())).judged
    assert judged is not None
    assert (
        judged.reservations[-1] == "judged without a reference answer, though of coding, math, reasoning: 1 questions"
    )


@pytest.mark.parametrize(
    "choices", [None, [], [{}], [{"turns": []}], [{"turns": ["One alone."]}]], ids=["none", "no", "empty", "0", "1"]
)
async def test_an_answer_that_lacks_turns_is_named(plan_of: PlanMaker, choices: object) -> None:
    plan = plan_of(model_id="mine", first=1)
    (plan.out / "model_answer").mkdir(parents=True)
    rows: list[dict[str, Any]] = [{"question_id": [81]}, {"question_id": 81, "usage": "none", "choices": choices}]
    write_lines(plan.out / "model_answer" / "mine.jsonl", rows)
    with pytest.raises(OccupiedError, match=r"the answer to question 81 has [01] turns instead of 2: remove its line"):
        await evaluate(plan, Steps())


async def test_prompts_of_our_own_are_said_to_be(plan_of: PlanMaker, judge: ChatServer) -> None:
    plan = plan_of()
    assert plan.judge is not None
    own = await evaluate(replace(plan, judge=replace(plan.judge, prompts=None)), Steps())
    assert own.judged is not None
    assert own.judged.reservations[0].startswith("judged with this project's own prompts")
    rows = read_lines(plan.out / "model_judgment" / "gpt-4_single.jsonl")
    assert {row["judge"][1] for row in rows} == {
        "platolm-single-v1",
        "platolm-single-v1-multi-turn",
        "platolm-single-math-v1",
        "platolm-single-math-v1-multi-turn",
    }
    with pytest.raises(OccupiedError, match="judged with another answer, prompt or reference"):
        await evaluate(plan, Steps())


async def test_other_sampling_is_refused_under_the_same_name(plan_of: PlanMaker, respondent: ChatServer) -> None:
    await evaluate(plan_of(judge=None), Steps())
    with pytest.raises(OccupiedError, match="answers with another max_tokens, seed: give another --model-id or --out"):
        await evaluate(plan_of(judge=None, sampling=AnswerSampling(9, seed=3)), Steps())
    other = await evaluate(plan_of(judge=None, model_id="demo-9", sampling=AnswerSampling(9, seed=3)), Steps())
    assert other.answered.num_answered == 4
    assert respondent.asked[-1]["seed"] == 3


async def test_a_folder_belongs_to_one_set_of_questions(plan_of: PlanMaker) -> None:
    await evaluate(plan_of(judge=None), Steps())
    plan = plan_of(judge=None)
    write_lines(plan.questions, MT_QUESTIONS[:2])
    with pytest.raises(OccupiedError, match="holds other questions"):
        await evaluate(plan, Steps())


async def test_answers_of_fastchats_own_programs_are_judged_as_they_are(
    plan_of: PlanMaker, respondent: ChatServer
) -> None:
    plan = plan_of(model_id="vicuna-7b", first=1)
    row = {"question_id": 81, "answer_id": "x", "model_id": "vicuna-7b", "tstamp": 1.0}
    answers = plan.out / "model_answer" / "vicuna-7b.jsonl"
    answers.parent.mkdir(parents=True)
    write_lines(answers, [{**row, "choices": [{"index": 0, "turns": ["Ponds are wet.", "Wet."]}]}])
    evaluation = await evaluate(plan, Steps())
    assert respondent.asked == []
    assert evaluation.judged is not None
    rows = read_lines(plan.out / "model_judgment" / "gpt-4_single.jsonl")
    assert rows[0]["user_prompt"] == "Q Write of a pond. A Ponds are wet."


async def test_vicuna_bench_has_one_turn(plan_of: PlanMaker) -> None:
    judged = (await evaluate(plan_of("vicuna-bench"), Steps())).judged
    assert judged is not None
    assert list(judged.scores.total.by_turn) == [1]
    assert judged.scores.total.overall is not None
    assert judged.scores.total.overall.mean == 8.0


async def test_alpaca_eval_in_its_own_files(plan_of: PlanMaker, judge: ChatServer) -> None:
    judge.says = prefer_the_model
    plan = plan_of("alpaca-eval")
    judged = (await evaluate(plan, Steps())).judged
    assert judged is not None
    assert judged.scores.total.overall is not None
    assert judged.scores.total.overall.mean == 80.0
    means = {one.category: one.overall.mean for one in judged.scores.categories if one.overall is not None}
    assert means == {"koala": 100.0, "oasst": 50.0, "vicuna": 100.0}

    outputs = json.loads((plan.out / "alpaca_eval" / "demo" / "model_outputs.json").read_text())
    assert [one["instruction"] for one in outputs] == [one["instruction"] for one in ALPACA_QUESTIONS]
    assert outputs[0] == {
        "instruction": "Say something of tea.",
        "output": "answer 1 to Say something of tea.",
        "generator": "demo",
        "dataset": "koala",
    }
    annotations = json.loads((plan.out / "alpaca_eval" / "demo" / "annotations.json").read_text())
    assert [one["preference"] for one in annotations] == [2.0, 2.0, 1.0, 2.0, 2.0]
    assert {key: annotations[2][key] for key in ("output_1", "generator_1", "output_2", "generator_2")} == {
        "output_1": "moss is fine.",
        "generator_1": "davinci",
        "output_2": "answer 1 to Say something of moss.",
        "generator_2": "demo",
    }
    assert (await evaluate(plan, Steps())).judged == replace(
        judged, spent=replace(judged.spent, now=judged.spent.now.__class__())
    )


async def test_instructions_without_references_are_refused_before_anything_is_asked(
    plan_of: PlanMaker, respondent: ChatServer
) -> None:
    plan = plan_of("alpaca-eval")
    write_lines(plan.questions, [{"instruction": "Say something."}])
    with pytest.raises(InputError, match="no output to be compared with"):
        await evaluate(plan, Steps())
    assert respondent.asked == []
    assert (await evaluate(replace(plan, judge=None), Steps())).answered.num_answered == 1


@pytest.mark.parametrize(("name", "suite"), [("mt_bench", "mt-bench"), ("vicuna_bench", "vicuna-bench")])
async def test_the_real_questions(plan_of: PlanMaker, judge: ChatServer, name: str, suite: str) -> None:
    path = SHARED_DATA / f"{name}_questions.jsonl"
    if not path.exists():
        pytest.skip(f"{path.name}: the suite's questions are not on this machine")
    judge.says = lambda body: f"[[{6 if last_message(body).count(' A ') else 1}]]"
    plan = plan_of(suite)
    evaluation = await evaluate(replace(plan, questions=path), Steps())
    questions = read_lines(path)
    num_turns = sum(len(question["turns"]) for question in questions)
    assert evaluation.is_complete
    assert evaluation.answered.num_answered == len(questions)
    rows = read_lines(plan.out / "model_judgment" / "gpt-4_single.jsonl")
    assert len({(row["question_id"], row["turn"]) for row in rows}) == len(rows) == num_turns
    with_reference = {row["question_id"] for row in rows if "math" in row["judge"][1]}
    categories = ("math", "reasoning", "coding")
    assert with_reference == {
        one["question_id"] for one in questions if "reference" in one and one["category"] in categories
    }
    assert evaluation.judged is not None
    assert {one.category for one in evaluation.judged.scores.categories} == {one["category"] for one in questions}


async def test_the_judges_requests_can_be_changed(plan_of: PlanMaker, judge: ChatServer) -> None:
    plan = plan_of(first=1)
    assert plan.judge is not None
    options = {"max_tokens": None, "max_completion_tokens": 99, "temperature": None}
    changed = JudgePlan(replace(plan.judge.endpoint, options=options), prompts=plan.judge.prompts)
    await evaluate(replace(plan, judge=changed), Steps())
    assert set(judge.asked[0]) == {"model", "messages", "max_completion_tokens"}
