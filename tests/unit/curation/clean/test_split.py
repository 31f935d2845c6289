"""Splitting by the real format: every turn once, in order, and no row over the limit that could be under it."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curation.clean.split import Split
from curation.dialogue import Dialogue
from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.dyadic import IGNORE_INDEX, PROFILES, DyadicProfile, compose
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.unit.compose.stack_files import REPOSITORY
from tests.unit.curation.clean.spoken import spoken

DEMO = REPOSITORY / "models" / "demo" / "socratic"


@pytest.fixture(scope="module")
def tokenizer() -> HubTokenizer:
    return load_tokenizer(DEMO)


def segments(dialogue: Dialogue, max_length: int, source: Path = DEMO) -> list[Dialogue]:
    outcome = Split(max_length, str(source)).apply(dialogue)
    if isinstance(outcome, Dialogue):
        return [outcome]
    assert isinstance(outcome, tuple)
    return list(outcome)


def length(messages: tuple[Message, ...], tokenizer: HubTokenizer) -> int:
    """Tokens under whichever header takes more."""
    return max(len(compose(messages, profile, tokenizer).input_ids) for profile in PROFILES.values())


def learned(dialogues: list[Dialogue], profile: DyadicProfile, tokenizer: HubTokenizer) -> list[list[int]]:
    """The labelled ids of each target turn in these dialogues, bos and eos included."""
    turns: list[list[int]] = []
    for dialogue in dialogues:
        composed = compose(dialogue.messages, profile, tokenizer)
        before = IGNORE_INDEX
        for label in composed.labels:
            if label != IGNORE_INDEX and before in (IGNORE_INDEX, tokenizer.eos_id):
                turns.append([])
            if label != IGNORE_INDEX:
                turns[-1].append(label)
            before = label
    return turns


def words(count: int, word: str = "tea") -> str:
    return " ".join([word] * count)


def test_what_fits_is_the_same_object(tokenizer: HubTokenizer) -> None:
    dialogue = spoken("Which tea is green?", "The green one.")
    exact = length(dialogue.messages, tokenizer)
    assert Split(exact, str(DEMO)).apply(dialogue) is dialogue
    assert len(segments(dialogue, exact - 1)) == 2


def test_rounds_stay_together_and_segments_are_numbered(tokenizer: HubTokenizer) -> None:
    dialogue = spoken(*(words(20, word) for word in ("a", "b", "c", "d", "e", "f", "g")), model="m")
    limit = length(dialogue.messages[:4], tokenizer)
    found = segments(dialogue, limit)
    assert [[m.content[0] for m in one.messages] for one in found] == [list("abcd"), list("efg")]
    assert [one.id for one in found] == ["d_0", "d_1"]
    assert all(one.fields == {"model": "m"} for one in found)


def test_a_round_that_does_not_fit_is_parted_and_its_answer_begins_a_segment(tokenizer: HubTokenizer) -> None:
    dialogue = spoken("a", "b", words(60, "c"), words(60, "d"), "e", "f")
    limit = length(dialogue.messages[:3], tokenizer)
    found = segments(dialogue, limit)
    assert [[m.content[0] for m in one.messages] for one in found] == [["a", "b", "c"], ["d"], ["e", "f"]]


def test_a_turn_over_the_limit_stands_alone() -> None:
    found = segments(spoken("a", words(900, "b"), "c", "d"), 128)
    assert [[m.content[0] for m in one.messages] for one in found] == [["a"], ["b"], ["c", "d"]]


def test_a_single_turn_over_the_limit_is_left_to_training() -> None:
    dialogue = spoken(words(900))
    assert Split(128, str(DEMO)).apply(dialogue) is dialogue


def test_system_messages_are_in_every_header(tokenizer: HubTokenizer) -> None:
    system = Message(SYSTEM, "Speak of tea alone.")
    dialogue = spoken(*(words(20) for _ in range(6)))
    dialogue = dialogue.with_messages([system, *dialogue.messages])
    found = segments(dialogue, length(dialogue.messages[:4], tokenizer))
    assert len(found) > 1
    assert all(one.messages[0] == system and SYSTEM not in {m.role for m in one.messages[1:]} for one in found)


def test_it_is_pickled_without_its_tokenizer() -> None:
    stage = Split(128, str(DEMO))
    stage.apply(spoken("a"))
    assert len(pickle.dumps(stage)) < 1000


ROLES = st.sampled_from([USER, ASSISTANT, USER, ASSISTANT, "narrator"])
CONTENTS = st.one_of(
    st.integers(0, 120).map(words), st.text(max_size=80), st.sampled_from(["", "</s>", "<s> Human: </s>"])
)
TURNS = st.lists(st.builds(Message, ROLES, CONTENTS), max_size=12)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=TURNS, max_length=st.integers(60, 400))
def test_each_target_turn_of_either_role_is_covered_exactly_once(
    tokenizer: HubTokenizer, turns: list[Message], max_length: int
) -> None:
    dialogue = Dialogue("d", tuple(turns))
    found = segments(dialogue, max_length)
    assert [m for one in found for m in one.messages] == turns
    for profile in PROFILES.values():
        assert learned(found, profile, tokenizer) == learned([dialogue], profile, tokenizer)
    for one in found:
        assert length(one.messages, tokenizer) <= max_length or len(one.messages) <= 1


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(turns=TURNS, max_length=st.integers(60, 400))
def test_a_segment_begins_within_a_round_only_where_the_round_fits_nowhere(
    tokenizer: HubTokenizer, turns: list[Message], max_length: int
) -> None:
    done = 0
    for one in segments(Dialogue("d", tuple(turns)), max_length):
        if done and one.messages[0].role != USER:
            begin = max((n for n in range(done) if turns[n].role == USER), default=0)
            end = next((n for n in range(done, len(turns)) if turns[n].role == USER), len(turns))
            assert length(tuple(turns[begin:end]), tokenizer) > max_length
        done += len(one.messages)
