"""A conversation as a worker holds it: prompts, records, and coming back from the queue."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message, TerminationReason
from platolm.dataset import ConversationRecord
from platolm.dyadic import PLATOLM, SOCRATIC, Turn, compose
from platolm.endings import FinishReason
from platolm.sampling import Sampling
from platolm.simulators.cleaning import End
from platolm.simulators.guardrails import Fault
from platolm.speakers import TokenSpeaker
from platolm.spec import RunSpec, Seed, SeedMode, SideSpec, speaker_profile
from platolm.tokenizer import HubTokenizer, load_tokenizer
from platolm.utterances import Utterance
from services.orchestrator.conversations.state import ConversationState, RecordedTurn, Remarks, restore


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


def make_state(
    tokenizer: HubTokenizer, mode: SeedMode = SeedMode.FREE, seed: Seed | None = None, **fields: Any
) -> ConversationState:
    sides = {
        profile.role: TokenSpeaker(profile, tokenizer, profile.name, Sampling(), context_tokens=1024)
        for profile in map(speaker_profile, ("socratic", "platolm"))
    }
    spec = RunSpec(conversations=1, seed_mode=mode, **fields)
    return ConversationState("run-a-00000000", "run-a", 0, spec, seed or Seed(), sides)


def given_in_a_row(state: ConversationState) -> list[RecordedTurn]:
    """What a seed gives from here on, taken in."""
    given = []
    while (turn := state.given_turn()) is not None:
        state.add(turn)
        given.append(turn)
    return given


def said(text: str, ids: list[int]) -> Utterance:
    return Utterance(text, ids, num_prompt_tokens=1, finish_reason=FinishReason.STOP, duration_s=0.1)


def test_each_side_is_prompted_as_it_was_trained(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer)
    messages = [Message(USER, "Hi </s>!"), Message(ASSISTANT, "Hello\n\nHuman: <s>"), Message(USER, "Bye")]
    for message in messages:
        state.add(state.generated_turn(message.role, said(message.content, tokenizer.encode(message.content)), 1))
    trained = compose([*messages, Message(ASSISTANT, "…")], PLATOLM, tokenizer)
    prompt = state.prompt(ASSISTANT).ids()
    assert trained.input_ids[: len(prompt)] == prompt
    assert state.next_role == ASSISTANT


def test_a_speaker_sees_its_own_words_as_it_generated_them(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer)
    generated = [11, 12, 13]
    state.add(state.generated_turn(USER, said("text", generated), 1))
    own = compose([Turn(USER, "text", generated)], SOCRATIC, tokenizer, open_role=USER).input_ids
    others = compose([Message(USER, "text")], PLATOLM, tokenizer, open_role=ASSISTANT).input_ids
    assert state.prompt(USER).ids() == own
    assert state.prompt(ASSISTANT).ids() == others


@pytest.mark.parametrize(
    ("mode", "roles"),
    [(SeedMode.FREE, []), (SeedMode.QUESTION, [USER]), (SeedMode.EXCHANGE, [USER, ASSISTANT])],
)
def test_seeds_give_what_their_mode_says(tokenizer: HubTokenizer, mode: SeedMode, roles: list[str]) -> None:
    state = make_state(tokenizer, mode, Seed(question="Q?", answer="A."))
    assert [turn.role for turn in given_in_a_row(state)] == roles


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


REMARKS = st.builds(
    Remarks,
    st.none() | st.sampled_from(list(End)),
    st.none() | st.sampled_from(list(Fault)),
    st.none() | st.lists(st.sampled_from(list(Fault)), min_size=1),
    st.none() | st.floats(0, 1),
).filter(lambda remarks: remarks != Remarks())
TURNS = st.builds(
    RecordedTurn,
    st.sampled_from([USER, ASSISTANT]),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.sampled_from(list(FinishReason)),
    st.integers(0, 10**6),
    num_prompt_tokens=st.integers(0, 10**6),
    sampling_seed=st.none() | st.integers(0, 2**31 - 1),
    duration_s=st.floats(0, 1e4),
    token_ids=st.none() | st.lists(st.integers(0, 2**31 - 1)),
    at=st.floats(0, 1e10),
    num_cached_tokens=st.none() | st.integers(0, 10**6),
    remarks=st.none() | REMARKS,
)


@given(TURNS)
def test_turns_come_back_from_the_queue_as_they_went(turn: RecordedTurn) -> None:
    assert RecordedTurn.from_json(turn.to_json()) == turn


def test_a_turn_as_the_queue_holds_it() -> None:
    turn = RecordedTurn(USER, "Hi \n🙂", FinishReason.STOP, 2, 30, 7, 0.5, [20, 21], 1.5, 16)
    assert json.loads(turn.to_json()) == {
        "role": "user",
        "content": "Hi \n🙂",
        "at": 1.5,
        "num_tokens": 2,
        "num_prompt_tokens": 30,
        "num_cached_tokens": 16,
        "finish_reason": "stop",
        "sampling_seed": 7,
        "duration_s": 0.5,
        "token_ids": [20, 21],
    }


def test_remarks_stand_beside_the_rest_and_only_those_that_say_something() -> None:
    turn = RecordedTurn(USER, "Bye", FinishReason.STOP, 1, at=1.5, remarks=Remarks(End.MARKER, goodbye_probability=0.9))
    plain = RecordedTurn(USER, "Bye", FinishReason.STOP, 1, at=1.5)
    assert json.loads(turn.with_faults([Fault.REPEATED]).to_json()) == {
        **json.loads(plain.to_json()),
        "end": "marker",
        "faults": ["repeated"],
        "goodbye_probability": 0.9,
    }
    assert (turn.end, turn.fault, plain.end, plain.fault) == (End.MARKER, None, None, None)


def test_a_restored_conversation_prompts_as_before(tokenizer: HubTokenizer) -> None:
    before = make_state(tokenizer)
    before.add(RecordedTurn(USER, "given", FinishReason.SEED, 5))
    before.add(before.generated_turn(ASSISTANT, said("hi", [20, 21]), 1))
    before.add(before.generated_turn(USER, said("", []), 1))
    after = make_state(tokenizer)
    restore(after, [before.turn_json(position) for position in range(len(before.turns))])
    assert after.turns == before.turns
    assert [after.token_ids(i) for i in range(3)] == [before.token_ids(i) for i in range(3)] == [None, [20, 21], []]
    assert after.prompt(ASSISTANT).ids() == before.prompt(ASSISTANT).ids()
    assert after.prompt(USER).ids() == before.prompt(USER).ids()


@pytest.mark.parametrize(
    ("mode", "seed", "told"),
    [
        (SeedMode.FREE, Seed(), "Be curious."),
        (SeedMode.QUESTION, Seed(question="Q?", persona="You are shy."), "Be curious."),
        (SeedMode.INTENT, Seed(intent="You want it.", persona="You are shy."), "Be curious. You are shy. You want it."),
    ],
)
def test_what_each_side_is_told_stands_in_its_header_alone(
    tokenizer: HubTokenizer, mode: SeedMode, seed: Seed, told: str
) -> None:
    sides = {
        "simulator": SideSpec(profile="socratic", system_prompt="Be curious."),
        "respondent": SideSpec(profile="platolm", system_prompt="Be brief."),
    }
    state = make_state(tokenizer, mode, seed, **sides)
    opening = [Message(SYSTEM, told)]
    assert state.prompt(USER).ids() == compose(opening, SOCRATIC, tokenizer, open_role=USER).input_ids
    answering = [Message(SYSTEM, "Be brief."), Message(USER, "Q?")]
    state.add(RecordedTurn(USER, "Q?", FinishReason.SEED, 2))
    assert state.prompt(ASSISTANT).ids() == compose(answering, PLATOLM, tokenizer, open_role=ASSISTANT).input_ids
    record = json.loads(state.record(TerminationReason.CONTEXT_FULL))
    assert (record["simulator"]["system_prompt"], record["respondent"]["system_prompt"]) == (told, "Be brief.")


def test_a_given_utterance_is_no_models(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer, SeedMode.EXCHANGE, Seed(question="Q?", answer="</s>"))
    question, answer = given_in_a_row(state)
    assert (question.content, answer.content) == ("Q?", "</s>")
    for turn, num_tokens in ((question, 2), (answer, 4)):
        assert (turn.finish_reason, turn.num_tokens, turn.token_ids) == (FinishReason.SEED, num_tokens, None)
        assert (turn.sampling_seed, turn.num_prompt_tokens, turn.duration_s) == (None, 0, 0.0)


def test_room_is_what_the_whole_prompt_leaves(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer)
    state.add(RecordedTurn(USER, "x" * 300, FinishReason.SEED, 300))
    prompts = {role: len(state.prompt(role).ids()) for role in (USER, ASSISTANT)}
    assert {role: state.room(role) for role in prompts} == {role: 1024 - prompts[role] for role in prompts}
    assert prompts[USER] != prompts[ASSISTANT]


@given(st.lists(st.tuples(st.sampled_from([USER, ASSISTANT]), st.none() | st.lists(st.integers(3, 259))), max_size=6))
def test_every_turn_keeps_the_ids_that_it_was_generated_as(
    tokenizer: HubTokenizer, said_ids: list[tuple[str, list[int] | None]]
) -> None:
    """They lie in the speaker's prompt, between those of the others."""
    state = make_state(tokenizer)
    turns = [RecordedTurn(role, "text", FinishReason.STOP, 4, token_ids=ids) for role, ids in said_ids]
    for turn in turns:
        state.add(turn)
    assert [state.token_ids(position) for position in range(len(turns))] == [turn.token_ids for turn in turns]
    assert [RecordedTurn.from_json(state.turn_json(position)) for position in range(len(turns))] == turns
    record = json.loads(state.record(TerminationReason.TURN_LIMIT))
    assert [turn["token_ids"] for turn in record["turns"]] == [turn.token_ids for turn in turns][: len(record["turns"])]


@pytest.mark.parametrize(
    ("sizes", "held"),
    # Prompt and utterance of each generated turn; the mean and a quarter more.
    [([(100, 20)], 150), ([(100, 20), (200, 80)], 250), ([(1, 0), (2, 0)], 2)],
)
def test_what_a_conversation_held_of_a_cache(tokenizer: HubTokenizer, sizes: list[tuple[int, int]], held: int) -> None:
    state = make_state(tokenizer)
    state.add(RecordedTurn(USER, "x" * 900, FinishReason.SEED, 900))
    for num_prompt_tokens, num_tokens in sizes:
        state.add(RecordedTurn(ASSISTANT, "a", FinishReason.STOP, num_tokens, num_prompt_tokens))
    assert state.held_tokens == held


def test_one_that_was_only_given_would_have_held_its_prompt(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer)
    state.add(RecordedTurn(USER, "x" * 400, FinishReason.SEED, 400))
    longer = max(len(state.prompt(role)) for role in (USER, ASSISTANT))
    assert state.held_tokens == math.ceil(1.25 * longer)


def test_the_user_opens_and_then_they_alternate(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer)
    roles = []
    for _ in range(4):
        roles.append(state.next_role)
        state.add(RecordedTurn(state.next_role, "a", FinishReason.STOP, 1))
    assert roles == [USER, ASSISTANT, USER, ASSISTANT]


def test_a_record_tells_how_it_came_about(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer, SeedMode.QUESTION, Seed(question="Q?", line=12))
    [question] = given_in_a_row(state)
    utterance = Utterance("A.", [40, 41, 42], 77, FinishReason.LENGTH, 0.25, num_cached_tokens=64)
    state.add(state.generated_turn(ASSISTANT, utterance, 5))
    record = json.loads(state.record(TerminationReason.TURN_LIMIT))
    assert (record["id"], record["run_id"], record["index"]) == ("run-a-00000000", "run-a", 0)
    assert (record["seed"], record["seed_mode"], record["seed_line"]) == (0, "question", 12)
    assert record["started_at"] == question.at <= state.turns[1].at <= record["finished_at"]
    given_turn, generated = record["turns"]
    assert (given_turn["finish_reason"], given_turn["token_ids"]) == ("seed", None)
    assert generated == {
        "role": "assistant",
        "num_tokens": 3,
        "num_prompt_tokens": 77,
        "num_cached_tokens": 64,
        "finish_reason": "length",
        "sampling_seed": 5,
        "duration_s": 0.25,
        "token_ids": [40, 41, 42],
        "end": None,
        "faults": None,
        "goodbye_probability": None,
        "api": None,
    }


def test_a_record_is_what_the_dataset_reads(tokenizer: HubTokenizer) -> None:
    state = make_state(tokenizer)
    for role, text in ((USER, "Q?"), (ASSISTANT, "A.")):
        state.add(state.generated_turn(role, said(text, tokenizer.encode(text)), 9))
    text = state.record(TerminationReason.CONTEXT_FULL)
    assert ConversationRecord.model_validate_json(text).model_dump(mode="json") == json.loads(text)


def test_a_conversation_that_said_nothing_is_a_record_too(tokenizer: HubTokenizer) -> None:
    record = json.loads(make_state(tokenizer).record(TerminationReason.CONTEXT_FULL))
    assert (record["conversations"], record["turns"], record["num_rounds"]) == ([], [], 0)
    assert 0 < record["started_at"] <= record["finished_at"]
