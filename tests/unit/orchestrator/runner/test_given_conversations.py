"""Conversations whose beginning, or every user turn of which, a seed gives."""

from __future__ import annotations

from typing import Any

import pytest

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.dyadic import PLATOLM, SOCRATIC, Turn, prompt_ids
from platolm.endings import FinishReason
from platolm.runs import RunState
from platolm.seed_modes import GivenTurn
from platolm.spec import Endings, Seed, SeedMode, sampling_seed
from platolm.tokenizer import HubTokenizer
from services.orchestrator.conversations.state import RecordedTurn
from tests.unit.orchestrator.runner.stage import RESPONDENT, SIMULATOR, Stage
from tests.unit.orchestrator.stub_queue import Finished

ROLES = (USER, ASSISTANT)


def conversation(*texts: str, **fields: Any) -> Seed:
    turns = [GivenTurn.model_validate({"role": ROLES[i % 2], "content": text}) for i, text in enumerate(texts)]
    return Seed(turns=turns, **fields)


def questions(*texts: str) -> Seed:
    return Seed(turns=[GivenTurn(role="user", content=text) for text in texts])


def given_turn(role: str, text: str) -> str:
    return RecordedTurn(role, text, FinishReason.SEED, 1).to_json()


def finished(stage: Stage) -> Finished:
    assert stage.queue.finished is not None
    return stage.queue.finished


async def test_both_sides_go_on_from_where_a_conversation_was(stage: Stage, tokenizer: HubTokenizer) -> None:
    stage.seed = conversation("Q", "A", "R", "B", line=5, ended=False)
    stage.answers(SIMULATOR, "S")
    stage.answers(RESPONDENT, "C")
    await stage.run(seed_mode=SeedMode.CONTINUE, seed=3, endings=Endings(max_turns=6))
    assert stage.queue.contents() == ["Q", "A", "R", "B", "S", "C"]
    assert stage.queue.generated_tokens == [0, 0, 0, 0, 1, 1]
    assert stage.asked() == [(SIMULATOR, sampling_seed(3, 7, 4)), (RESPONDENT, sampling_seed(3, 7, 5))]
    said = [Turn(ROLES[i % 2], text) for i, text in enumerate("QARBS")]
    assert [body["prompt"] for _, body in stage.engines.asked] == [
        prompt_ids(said[:4], SOCRATIC, tokenizer),
        prompt_ids(said, PLATOLM, tokenizer),
    ]
    record = finished(stage).record
    assert (record["seed_mode"], record["seed_line"], record["seed_ended"]) == ("continue", 5, False)
    assert [turn["finish_reason"] for turn in record["turns"]] == ["seed"] * 4 + ["stop"] * 2
    for turn in record["turns"][:4]:
        assert (turn["sampling_seed"], turn["token_ids"], turn["num_prompt_tokens"]) == (None, None, 0)


async def test_a_question_without_its_answer_is_answered_first(stage: Stage) -> None:
    stage.seed = conversation("Q", "A", "R")
    stage.answers(RESPONDENT, "B")
    await stage.run(seed_mode=SeedMode.CONTINUE)
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.asked() == [(RESPONDENT, sampling_seed(0, 7, 3))]


async def test_what_is_given_in_a_row_is_never_cut_off(stage: Stage) -> None:
    """Its own turns break rules that would end a conversation; the rules hold for what is said after them."""
    stage.seed = conversation("bye", "bye", "bye", "bye", "bye", "bye")
    await stage.run(seed_mode=SeedMode.CONTINUE, endings=Endings(max_turns=4, stop_phrases=["bye"]))
    assert stage.queue.contents() == ["bye"] * 6
    assert finished(stage).reason is TerminationReason.TURN_LIMIT


@pytest.mark.parametrize("answered", [0, 1, 2])
async def test_every_question_is_answered_again(stage: Stage, tokenizer: HubTokenizer, answered: int) -> None:
    """From wherever a worker left it."""
    whole = [given_turn(USER, "Q"), given_turn(ASSISTANT, "A"), given_turn(USER, "R")]
    stage.seed = questions("Q", "R")
    stage.queue.turns = whole[:answered]
    stage.queue.turns[1:2] = [RecordedTurn(ASSISTANT, "A", FinishReason.STOP, 1, 9).to_json()] * (answered > 1)
    stage.answers(RESPONDENT, *["A", "B"][answered // 2 :])
    await stage.run(seed_mode=SeedMode.REANSWER, endings=Endings())
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.asked()[-1] == (RESPONDENT, sampling_seed(0, 7, 3))
    assert {url for url, _ in stage.asked()} == {RESPONDENT}
    said = [Turn(USER, "Q"), Turn(ASSISTANT, "A"), Turn(USER, "R")]
    assert stage.engines.asked[-1][1]["prompt"] == prompt_ids(said, PLATOLM, tokenizer)
    assert finished(stage).reason is TerminationReason.SEED_EXHAUSTED
    record = finished(stage).record
    assert [turn["finish_reason"] for turn in record["turns"]] == ["seed", "stop", "seed", "stop"]
    assert record["num_rounds"] == 2


@pytest.mark.parametrize(
    ("max_turns", "reason"), [(4, TerminationReason.SEED_EXHAUSTED), (2, TerminationReason.TURN_LIMIT)]
)
async def test_the_last_answer_counts_more_than_the_limit(
    stage: Stage, max_turns: int, reason: TerminationReason
) -> None:
    stage.seed = questions("Q", "R")
    stage.answers(RESPONDENT, *["A", "B"][: max_turns // 2])
    await stage.run(seed_mode=SeedMode.REANSWER, endings=Endings(max_turns=max_turns))
    assert (finished(stage).reason, len(stage.queue.turns)) == (reason, max_turns)


async def test_an_answer_that_is_no_use_ends_it_as_ever(stage: Stage) -> None:
    stage.seed = questions("Q", "R", "S")
    stage.answers(RESPONDENT, "A", "A")
    await stage.run(seed_mode=SeedMode.REANSWER, endings=Endings())
    assert finished(stage).reason is TerminationReason.REPETITION
    assert [turn["value"] for turn in finished(stage).record["conversations"]] == ["Q", "A"]


async def test_given_goodbyes_are_no_loop(stage: Stage) -> None:
    stage.seed = questions("Bye!", "Bye bye!", "Goodbye!")
    stage.answers(RESPONDENT, "Take care!", "See you!", "Farewell!")
    await stage.run(seed_mode=SeedMode.REANSWER, endings=Endings())
    assert finished(stage).reason is TerminationReason.SEED_EXHAUSTED
    assert len(stage.queue.turns) == 6


async def test_a_question_too_long_for_the_context_ends_it(stage: Stage) -> None:
    stage.seed, stage.context_tokens = questions("Q", "x" * 300), 300
    stage.answers(RESPONDENT, "A")
    await stage.run(seed_mode=SeedMode.REANSWER, endings=Endings())
    assert finished(stage).reason is TerminationReason.CONTEXT_FULL
    assert [turn["value"] for turn in finished(stage).record["conversations"]] == ["Q", "A"]


async def test_a_paused_run_stops_between_given_turns(stage: Stage) -> None:
    stage.seed = conversation("Q", "A")
    stage.queue.state = RunState.PAUSED
    await stage.run(seed_mode=SeedMode.CONTINUE)
    assert stage.queue.done == ["append 0", "release"]


async def test_one_whose_last_answer_came_while_its_run_paused_is_finished(stage: Stage) -> None:
    stage.seed = questions("Q")
    stage.queue.turns = [given_turn(USER, "Q")]
    stage.queue.state = RunState.PAUSED
    stage.answers(RESPONDENT, "A")
    await stage.run(seed_mode=SeedMode.REANSWER, endings=Endings())
    assert stage.queue.done == ["append 1", "finish 2"]


async def test_a_goodbye_at_once_adds_nothing(stage: Stage) -> None:
    stage.seed = conversation("Q", "A", ended=True)
    stage.answers(SIMULATOR, "<e>")
    await stage.run(seed_mode=SeedMode.CONTINUE)
    record = finished(stage).record
    assert (record["termination_reason"], record["goodbye_at"], record["goodbye_end"]) == ("user_ended", 2, "marker")
    assert [turn["value"] for turn in record["conversations"]] == ["Q", "A"]
    assert record["seed_ended"] is True
