"""One conversation from where the queue has it to its end."""

from __future__ import annotations

import pytest

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.dyadic import PLATOLM, SOCRATIC, Turn, prompt_ids
from platolm.endings import FinishReason
from platolm.spec import Endings, Retries, Seed, SeedMode, sampling_seed
from platolm.tokenizer import HubTokenizer
from services.orchestrator.conversations.state import RecordedTurn
from tests.unit.orchestrator.runner.stage import RESPONDENT, SIMULATOR, Stage, turn


async def test_a_conversation_from_its_first_word_to_its_last(stage: Stage, tokenizer: HubTokenizer) -> None:
    stage.answers(SIMULATOR, "Q", "R")
    stage.answers(RESPONDENT, "A", "B")
    await stage.run(seed=5)
    assert stage.queue.done == ["append 0", "append 1", "append 2", "append 3", "finish 4"]
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.generated_tokens == [1, 1, 1, 1]
    assert stage.asked() == [
        (url, sampling_seed(5, 7, i)) for i, url in enumerate([SIMULATOR, RESPONDENT, SIMULATOR, RESPONDENT])
    ]
    spoken = [Turn(USER, "Q"), Turn(ASSISTANT, "A"), Turn(USER, "R")]
    profiles = [SOCRATIC, PLATOLM, SOCRATIC, PLATOLM]
    assert [body["prompt"] for _, body in stage.engines.asked] == [
        prompt_ids(spoken[:i], profile, tokenizer) for i, profile in enumerate(profiles)
    ]
    finished = stage.queue.finished
    assert finished is not None
    assert finished.reason is TerminationReason.TURN_LIMIT
    assert finished.record["conversations"] == [
        {"from": "human", "value": "Q"},
        {"from": "gpt", "value": "A"},
        {"from": "human", "value": "R"},
        {"from": "gpt", "value": "B"},
    ]
    assert stage.counted("conversations_ended_total", reason="turn_limit") == 1
    assert stage.counted("utterances_total", side="simulator", finish_reason="stop") == 2


async def test_it_goes_on_where_the_queue_has_it(stage: Stage, tokenizer: HubTokenizer) -> None:
    """Utterances that are recorded are asked for no more, and seen with the ids as they were generated."""
    strange = [tokenizer.encode(letter)[0] for letter in "QQ"]
    stage.queue.turns = [turn(USER, "Q", strange), turn(ASSISTANT, "A", [50])]
    stage.answers(SIMULATOR, "R")
    stage.answers(RESPONDENT, "B")
    await stage.run()
    assert stage.queue.done == ["append 2", "append 3", "finish 4"]
    assert stage.asked() == [(SIMULATOR, sampling_seed(0, 7, 2)), (RESPONDENT, sampling_seed(0, 7, 3))]
    own = prompt_ids([Turn(USER, "Q", strange), Turn(ASSISTANT, "A")], SOCRATIC, tokenizer)
    assert stage.engines.asked[0][1]["prompt"] == own


async def test_one_that_had_ended_is_only_finished(stage: Stage) -> None:
    stage.queue.turns = [turn(USER, "Q"), turn(ASSISTANT, "A"), turn(USER, "R"), turn(ASSISTANT, "B")]
    await stage.run()
    assert stage.queue.done == ["finish 4"]
    assert stage.engines.asked == []


@pytest.mark.parametrize("recorded", [0, 1, 2])
async def test_what_the_seed_gives_is_recorded_first(stage: Stage, recorded: int) -> None:
    given = [
        RecordedTurn(USER, "Q", FinishReason.SEED, 1).to_json(),
        RecordedTurn(ASSISTANT, "A", FinishReason.SEED, 1).to_json(),
    ]
    stage.seed = Seed(question="Q", answer="A")
    stage.queue.turns = given[:recorded]
    stage.answers(SIMULATOR, "R")
    stage.answers(RESPONDENT, "B")
    await stage.run(seed_mode=SeedMode.EXCHANGE)
    assert stage.queue.contents() == ["Q", "A", "R", "B"]
    assert stage.queue.generated_tokens == [*[0] * (2 - recorded), 1, 1]
    assert stage.asked() == [(SIMULATOR, sampling_seed(0, 7, 2)), (RESPONDENT, sampling_seed(0, 7, 3))]


async def test_a_full_context_is_asked_nothing(stage: Stage) -> None:
    stage.seed = Seed(question="x" * 200)
    stage.context_tokens = 300
    await stage.run(seed_mode=SeedMode.QUESTION)
    assert stage.queue.done == ["append 0", "finish 1"]
    assert stage.queue.finished is not None
    assert stage.queue.finished.reason is TerminationReason.CONTEXT_FULL
    assert stage.queue.finished.record["num_rounds"] == 0


async def test_too_early_an_end_is_made_again_with_another_seed(stage: Stage) -> None:
    stage.answers(SIMULATOR, "<e>", "Q <e>", "Q")
    stage.answers(RESPONDENT, "A")
    await stage.run(endings=Endings(min_turns=2, max_turns=2))
    assert stage.queue.contents() == ["Q", "A"]
    assert stage.asked() == [
        *[(SIMULATOR, sampling_seed(0, 7, 0, again)) for again in (0, 1, 2)],
        (RESPONDENT, sampling_seed(0, 7, 1)),
    ]
    assert stage.queue.finished is not None
    assert stage.queue.finished.record["turns"][0]["sampling_seed"] == sampling_seed(0, 7, 0, 2)
    assert stage.counted("utterance_retries_total", side="simulator", cause="regenerated") == 2


async def test_what_stays_too_early_ends_it(stage: Stage) -> None:
    stage.answers(SIMULATOR, "", "  ", "\n")
    await stage.run(endings=Endings(empty=False), retries=Retries(regenerations=2))
    assert stage.queue.contents() == ["\n"]
    assert stage.queue.finished is not None
    assert stage.queue.finished.reason is TerminationReason.EMPTY
    assert stage.queue.finished.record["conversations"] == []
