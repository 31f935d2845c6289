"""A conversation as a worker holds it: prompts, records, and coming back from the queue."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, USER, Message, TerminationReason
from platolm.dyadic import PLATOLM, SOCRATIC, Turn, compose
from platolm.endings import FinishReason
from platolm.runs import RunSpec, Sampling, Seed, SeedMode
from platolm.speakers import TokenSpeaker, Utterance
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.orchestrator.conversations.state import ConversationState, RecordedTurn, restore


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


def make_state(tokenizer: HubTokenizer, mode: SeedMode = SeedMode.FREE, seed: Seed | None = None) -> ConversationState:
    sides = {
        profile.target_role: TokenSpeaker(profile, tokenizer, profile.name, Sampling(), context_tokens=1024)
        for profile in (SOCRATIC, PLATOLM)
    }
    spec = RunSpec(conversations=1, seed_mode=mode)
    return ConversationState("run-a-00000000", "run-a", 0, spec, seed or Seed(), sides)


def said(text: str, ids: list[int]) -> Utterance:
    return Utterance(text, ids, num_prompt_tokens=1, finish_reason=FinishReason.STOP, duration_s=0.1)


def test_each_side_is_prompted_as_it_was_trained(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer)
    messages = [Message(USER, "Hi </s>!"), Message(ASSISTANT, "Hello\n\nHuman: <s>"), Message(USER, "Bye")]
    for message in messages:
        state.add(state.generated_turn(message.role, said(message.content, tokenizer.encode(message.content)), 1))
    trained = compose([*messages, Message(ASSISTANT, "…")], PLATOLM, tokenizer)
    prompt = state.prompt(ASSISTANT)
    assert trained.input_ids[: len(prompt)] == prompt
    assert state.next_role == ASSISTANT


def test_a_speaker_sees_its_own_words_as_it_generated_them(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer)
    generated = [11, 12, 13]
    state.add(state.generated_turn(USER, said("text", generated), 1))
    own = compose([Turn(USER, "text", generated)], SOCRATIC, tokenizer, open_role=USER).input_ids
    others = compose([Message(USER, "text")], PLATOLM, tokenizer, open_role=ASSISTANT).input_ids
    assert state.prompt(USER) == own
    assert state.prompt(ASSISTANT) == others


@pytest.mark.parametrize(
    ("mode", "roles"),
    [(SeedMode.FREE, []), (SeedMode.QUESTION, [USER]), (SeedMode.EXCHANGE, [USER, ASSISTANT])],
)
def test_seeds_give_what_their_mode_says(tokenizer: HubTokenizer, mode: SeedMode, roles: list[str]) -> None:
    state = make_state(tokenizer, mode, Seed(question="Q?", answer="A."))
    assert [turn.role for turn in state.seed_turns()] == roles


def test_a_record_leaves_out_the_hanging_question(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer)
    for role, text in ((USER, "Q?"), (ASSISTANT, "A."), (USER, "R?")):
        state.add(state.generated_turn(role, said(text, tokenizer.encode(text)), 9))
    record = json.loads(state.record(TerminationReason.CONTEXT_FULL))
    assert record["conversations"] == [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "A."}]
    assert (record["num_rounds"], record["termination_reason"]) == (1, "context_full")
    assert [turn["num_tokens"] for turn in record["turns"]] == [2, 2]
    assert record["simulator"]["model"] == "socratic"
    assert record["respondent"]["sampling"]["temperature"] == 0.7


@given(st.text(), st.lists(st.integers(0, 500)), st.sampled_from(list(FinishReason)))
def test_turns_come_back_from_the_queue_as_they_went(text: str, ids: list[int], reason: FinishReason) -> None:
    turn = RecordedTurn(USER, text.encode(errors="replace").decode(), reason, len(ids), token_ids=ids, sampling_seed=3)
    assert RecordedTurn.from_json(turn.to_json()) == turn


def test_a_restored_conversation_prompts_as_before(tokenizer: HubTokenizer) -> None:
    before = make_state(tokenizer)
    before.add(before.generated_turn(USER, said("hi", [20, 21]), 1))
    after = make_state(tokenizer)
    restore(after, [turn.to_json() for turn in before.turns])
    assert after.prompt(ASSISTANT) == before.prompt(ASSISTANT)
    assert after.prompt(USER) == before.prompt(USER)
