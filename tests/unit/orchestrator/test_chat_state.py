"""A conversation one of whose sides is behind a chat API: what is known of its tokens, also after a restart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from platolm.chat_apis.answers import estimated_prompt_tokens
from platolm.chat_apis.speaker import ChatSpeaker, ChatUtterance
from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.dataset import ConversationRecord
from platolm.endings import FinishReason
from platolm.respondents import RESPONDENTS
from platolm.sampling import Sampling
from platolm.simulators import PROFILES
from platolm.speakers import TokenSpeaker
from platolm.spec import RunSpec, Seed, SeedMode, SideSpec
from platolm.tokenizer import HubTokenizer, load_tokenizer
from platolm.utterances import Speaker, Utterance
from services.orchestrator.conversations.state import ConversationState, restore

CONTEXT = 500


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


def a_state(tokenizer: HubTokenizer) -> ConversationState:
    models = {"a": "model of a", "b": "model of b"}
    respondent = SideSpec(profile="chat", apis={"a": 1, "b": 1}, system_prompt="Be kind.")
    spec = RunSpec(conversations=1, seed_mode=SeedMode.QUESTION, respondent=respondent)
    sides: dict[str, Speaker] = {
        USER: TokenSpeaker(PROFILES["socratic"], tokenizer, "socratic", Sampling(), CONTEXT),
        ASSISTANT: ChatSpeaker(RESPONDENTS["chat"], Sampling(), CONTEXT, models),
    }
    return ConversationState("run-a-00000000", "run-a", 0, spec, Seed(question="Why? Said at length."), sides)


def answer(text: str, num_prompt_tokens: int, api: str = "a") -> ChatUtterance:
    return ChatUtterance(text, [], num_prompt_tokens, FinishReason.STOP, 0.5, intact=False, api=api, num_tokens=2)


def grown(tokenizer: HubTokenizer) -> ConversationState:
    """A given question, two answers and a question between them."""
    state = a_state(tokenizer)
    given = state.given_turn()
    assert given is not None
    state.add(given)
    state.add(state.generated_turn(ASSISTANT, answer("Because.", 100), 1))
    ids = tokenizer.encode("And?")
    state.add(state.generated_turn(USER, Utterance("And?", ids, 40, FinishReason.STOP, 0.5), 2))
    return state


def test_a_given_turn_is_counted_by_its_own_side(tokenizer: HubTokenizer) -> None:
    """The question by the simulator's tokenizer, an answer about."""
    assert a_state(tokenizer).sides[ASSISTANT].num_tokens("Twelve bytes") == 4
    given = a_state(tokenizer).given_turn()
    assert given is not None
    assert given.num_tokens == len(tokenizer.encode("Why? Said at length."))


def test_the_room_follows_what_the_api_counted(tokenizer: HubTokenizer) -> None:
    state = a_state(tokenizer)
    messages = state.prompt(ASSISTANT).messages()
    assert messages == [{"role": "system", "content": "Be kind."}]
    assert state.room(ASSISTANT) == CONTEXT - estimated_prompt_tokens(messages)
    state = grown(tokenizer)
    own, question = 6 + 3, 6 + 2  # `Because.` and `And?`, three bytes a token, with what stands around a message
    assert state.room(ASSISTANT) == CONTEXT - 100 - own - question


def test_a_conversation_that_is_restored_has_the_same_room(tokenizer: HubTokenizer) -> None:
    """So that it ends where it would have ended."""
    before, after = grown(tokenizer), a_state(tokenizer)
    restore(after, [before.turn_json(position) for position in range(len(before.turns))])
    assert [after.room(role) for role in (USER, ASSISTANT)] == [before.room(role) for role in (USER, ASSISTANT)]
    assert after.prompt(ASSISTANT).messages() == before.prompt(ASSISTANT).messages()
    assert [after.turn_json(position) for position in range(3)] == [before.turn_json(position) for position in range(3)]
    assert (after.api_of(ASSISTANT), after.api_of(USER)) == ("a", None)


def test_a_record_names_the_api_of_each_utterance_and_the_last_ones_model(tokenizer: HubTokenizer) -> None:
    state = grown(tokenizer)
    state.add(state.generated_turn(ASSISTANT, answer("So.", 150, api="b"), 3))
    text = state.record(TerminationReason.TURN_LIMIT)
    assert ConversationRecord.model_validate_json(text).model_dump(mode="json") == json.loads(text)
    record = json.loads(text)
    assert [turn["api"] for turn in record["turns"]] == [None, "a", None, "b"]
    assert [turn["token_ids"] for turn in record["turns"]][1::2] == [None, None]
    assert record["turns"][2]["token_ids"] == tokenizer.encode("And?")
    assert (record["simulator"]["model"], record["respondent"]["model"]) == ("socratic", "model of b")
    assert record["respondent"]["system_prompt"] == "Be kind."


def test_where_nobody_has_spoken_all_models_are_named(tokenizer: HubTokenizer) -> None:
    record = json.loads(a_state(tokenizer).record(TerminationReason.CONTEXT_FULL))
    assert record["respondent"]["model"] == "model of a, model of b"
