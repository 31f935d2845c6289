"""From records to turns with ids: what is kept, what is cut, what is skipped and why."""

from __future__ import annotations

from typing import Any

import pytest

from platolm.conversation import ASSISTANT, SYSTEM, USER, Conversation, Message
from platolm.dyadic import PLATOLM, PROFILES, SOCRATIC, DyadicProfile, Turn
from platolm.errors import BadLine
from platolm.tokenizer import HubTokenizer
from tests.unit.training.data.records import dialogue, record
from training.data.dialogues import (
    Dialogue,
    UnusableRecordError,
    conversation_of,
    cut_before_long_turn,
    dialogue_of,
    encode_turns,
    encoded,
    within_limits,
)
from training.data.report import SkipReason

BOTH = tuple(PROFILES.values())


def read(tokenizer: HubTokenizer, record: Any, *profiles: DyadicProfile) -> Dialogue:
    return dialogue_of(record, conversation_of(record, 1), profiles or BOTH, tokenizer)


def openai(*messages: tuple[str, str]) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in messages]}


def roles(dialogue: Dialogue) -> list[str]:
    return [turn.role for turn in dialogue.spoken]


@pytest.mark.parametrize(
    ("record", "reason", "detail"),
    [
        (BadLine(3, "not UTF-8"), SkipReason.NOT_JSON, "not UTF-8"),
        (7, SkipReason.NOT_A_CONVERSATION, "must be a JSON object, not int"),
        ({"text": "Hi"}, SkipReason.NOT_A_CONVERSATION, "needs a list 'conversations'"),
        (record("Hi") | {"conversations": [{"from": "human", "value": None}]}, SkipReason.NOT_A_CONVERSATION, "turn 0"),
    ],
)
def test_what_is_no_conversation_has_its_reason(record: Any, reason: SkipReason, detail: str) -> None:
    with pytest.raises(UnusableRecordError, match=detail) as caught:
        conversation_of(record, 1)
    assert caught.value.reason is reason


@pytest.mark.parametrize(
    ("record", "profile", "reason", "detail"),
    [
        (record(), SOCRATIC, SkipReason.NOTHING_TO_LEARN, "roles: none"),
        (record("Hi"), PLATOLM, SkipReason.NOTHING_TO_LEARN, "roles: user"),
        (openai((SYSTEM, "Be kind."), (ASSISTANT, "Hi")), SOCRATIC, SkipReason.NOTHING_TO_LEARN, "roles: assistant"),
        (record("", "Hello", "Why?"), SOCRATIC, SkipReason.EMPTY_TURN, "turn 0 is empty"),
        (record("Hi", " \n\t", "Why?", "So."), PLATOLM, SkipReason.EMPTY_TURN, "turn 1 is empty"),
    ],
)
def test_a_conversation_without_anything_to_learn_is_skipped(
    byte_tokenizer: HubTokenizer, record: Any, profile: DyadicProfile, reason: SkipReason, detail: str
) -> None:
    with pytest.raises(UnusableRecordError, match=detail) as caught:
        read(byte_tokenizer, record, profile)
    assert caught.value.reason is reason


def test_a_conversation_ends_before_its_first_empty_turn(byte_tokenizer: HubTokenizer) -> None:
    whole = read(byte_tokenizer, record("Hi", "Hello", "Why?", "So."), SOCRATIC)
    cut = read(byte_tokenizer, record("Hi", "Hello", " ", "So."), SOCRATIC)
    assert (len(whole.spoken), whole.ended_early) == (4, False)
    assert (len(cut.spoken), cut.ended_early) == (2, True)


def test_irregular_roles_are_kept(byte_tokenizer: HubTokenizer) -> None:
    said = [(ASSISTANT, "Hi"), (ASSISTANT, "There"), (USER, "Yes"), (USER, "No"), ("tool", "{}"), (ASSISTANT, "Ok")]
    assert roles(read(byte_tokenizer, openai(*said), PLATOLM)) == [role for role, _ in said]


def test_system_messages_are_kept_apart_and_empty_ones_left_out(byte_tokenizer: HubTokenizer) -> None:
    read_one = read(byte_tokenizer, openai((SYSTEM, "Be kind."), (SYSTEM, " "), (USER, "Hi"), (SYSTEM, "Be brief.")))
    assert [turn.content for turn in read_one.system] == ["Be kind.", "Be brief."]
    assert roles(read_one) == [USER]
    assert not read_one.ended_early


def test_recorded_ids_stay_where_they_are_the_text(demo_tokenizer: HubTokenizer) -> None:
    letters = [demo_tokenizer.encode(letter)[0] for letter in "Hello"]
    assert letters != demo_tokenizer.encode("Hello")
    recorded = record("Hello", "Hello") | {"turns": [{"token_ids": letters}, {"token_ids": letters}]}
    ids = {
        profiles: [turn.content_ids for turn in read(demo_tokenizer, recorded, *profiles).spoken]
        for profiles in ((SOCRATIC,), (PLATOLM,), BOTH)
    }
    assert ids == {(SOCRATIC,): [letters, None], (PLATOLM,): [None, letters], BOTH: [letters, letters]}
    other = record("Hallo", "Hello") | {"turns": [{"token_ids": letters}, {"token_ids": [*letters, 10**6]}]}
    assert [turn.content_ids for turn in read(demo_tokenizer, other).spoken] == [None, None]


@pytest.mark.parametrize("tokenizer_name", ["byte_tokenizer", "demo_tokenizer", "sentencepiece_tokenizer"])
def test_encoding_many_turns_is_encoding_each(tokenizer_name: str, request: pytest.FixtureRequest) -> None:
    tokenizer: HubTokenizer = request.getfixturevalue(tokenizer_name)
    texts = ["Hello there", "中文, русский, العربية", "👩‍👩‍👧 e\u0301 ﬁ", "a </s> <s> b", "  \n\n x \u200b", "z" * 3000]
    dialogues = [read(tokenizer, record(*texts[i:])) for i in range(len(texts))]
    for one, with_ids in zip(dialogues, encoded(dialogues, tokenizer), strict=True):
        assert [turn.content_ids for turn in with_ids.spoken] == [tokenizer.encode(turn.content) for turn in one.spoken]
        assert not {tokenizer.bos_id, tokenizer.eos_id} & {
            i for turn in with_ids.spoken for i in turn.content_ids or ()
        }


def test_encoding_keeps_what_has_ids_and_goes_over_batches(byte_tokenizer: HubTokenizer) -> None:
    given = Turn(USER, "given", [100, 101])
    long = Turn(ASSISTANT, "b" * (1 << 20))
    dialogues = [Dialogue([given, long, Turn(USER, "c")]), Dialogue([Turn(USER, "d")], [Turn(SYSTEM, "e")])]
    first, second = encoded(dialogues, byte_tokenizer)
    assert first.spoken[0] == given
    assert first.spoken[1].content_ids == byte_tokenizer.encode("b") * (1 << 20)
    assert [turn.content_ids for turn in (first.spoken[2], second.spoken[0])] == [
        byte_tokenizer.encode("c"),
        byte_tokenizer.encode("d"),
    ]
    assert second.system[0].content_ids is None


def test_a_dialogue_is_cut_before_the_first_turn_over_its_roles_limit(byte_tokenizer: HubTokenizer) -> None:
    turns = list(dialogue(byte_tokenizer, "short", "a longer answer", "more", "ok").spoken)
    assert cut_before_long_turn(turns, {USER: 5, ASSISTANT: 15}) == turns
    assert cut_before_long_turn(turns, {USER: 5, ASSISTANT: 14}) == turns[:1]
    assert cut_before_long_turn(turns, {USER: 4}) == []
    assert cut_before_long_turn(turns, {}) == turns


def test_over_long_turns_end_a_dialogue_or_make_it_useless(byte_tokenizer: HubTokenizer) -> None:
    one = dialogue(byte_tokenizer, "short", "a longer answer", "more", "ok")
    assert within_limits(one, {USER}, {USER: 5, ASSISTANT: 15}) is one
    cut = within_limits(one, {USER}, {ASSISTANT: 14})
    assert (len(cut.spoken), cut.ended_early) == (1, True)
    with pytest.raises(UnusableRecordError, match="turn 1 has 15 tokens") as caught:
        within_limits(one, {ASSISTANT}, {ASSISTANT: 14})
    assert caught.value.reason is SkipReason.LONG_TURN


def test_turns_of_a_conversation_come_with_their_ids(byte_tokenizer: HubTokenizer) -> None:
    turns = encode_turns(Conversation("x", (Message(USER, "Hi"),)), byte_tokenizer)
    assert turns == [Turn(USER, "Hi", byte_tokenizer.encode("Hi"))]
