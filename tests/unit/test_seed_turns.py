"""Seeds that are conversations: which files give them, and what of each is taken."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.errors import SeedError
from platolm.seed_modes import GivenTurn, Seed, SeedMode
from platolm.seed_turns import alternating_begin, whole_seed
from platolm.seeds import read_seeds

Q, A = GivenTurn(role="user", content="Q"), GivenTurn(role="assistant", content=" A\n")
FOUR = [Q, A, GivenTurn(role="user", content="R"), GivenTurn(role="assistant", content="B")]
SHAREGPT = [
    {"from": name, "value": text} for name, text in zip(["human", "gpt"] * 2, ["Q", " A\n", "R", "B"], strict=True)
]
OPENAI = [turn.model_dump() for turn in FOUR]


@pytest.mark.parametrize(
    "record",
    [
        {"conversations": SHAREGPT},
        {"items": SHAREGPT},
        {"messages": OPENAI},
        {"messages": [{"role": "system", "content": "Be kind."}, *OPENAI]},
        {"messages": [*OPENAI, {"role": "user", "content": " \n"}]},
        {"conversation": OPENAI, "model": "m"},
        {"turns": OPENAI},
        {"conversations": SHAREGPT, "turns": [{"role": "user", "num_tokens": 1}], "seed": 3, "goal": {"not": "text"}},
    ],
)
def test_a_conversation_in_every_form_word_for_word(record: dict[str, Any]) -> None:
    assert whole_seed(record, 7, SeedMode.CONTINUE) == Seed(turns=FOUR, ended=True, line=7)
    users = [turn for turn in FOUR if turn.role == "user"]
    assert whole_seed(record, 7, SeedMode.REANSWER) == Seed(turns=users, line=7)


@pytest.mark.parametrize(
    ("messages", "num_turns", "ended"),
    [
        (OPENAI[:3], 3, None),
        ([*OPENAI, {"role": "tool", "content": "42"}, *OPENAI], 4, False),
        ([*OPENAI[:2], *OPENAI[1:]], 2, False),
        ([OPENAI[0], {"role": "assistant", "content": " "}, *OPENAI[2:]], 1, None),
    ],
)
def test_what_does_not_alternate_is_cut_off(messages: list[Any], num_turns: int, ended: bool | None) -> None:
    seed = whole_seed({"messages": messages}, 1, SeedMode.CONTINUE)
    assert (seed.turns, seed.ended) == (FOUR[:num_turns], ended)


def test_questions_alone_can_be_answered_again() -> None:
    seed = whole_seed({"question_id": 81, "turns": ["Q", " ", "R"]}, 1, SeedMode.REANSWER)
    assert seed.turns == [FOUR[0], FOUR[2]]


def test_what_a_record_says_of_its_user_is_told() -> None:
    seed = whole_seed({"messages": OPENAI, "persona": "A cook.", "profile": 3}, 1, SeedMode.CONTINUE)
    assert (seed.persona, seed.profile) == ("A cook.", None)


MESSAGES = st.lists(
    st.builds(Message, st.sampled_from([USER, ASSISTANT, SYSTEM, "tool"]), st.sampled_from(["a", " ", "b"])), max_size=8
)


@given(MESSAGES)
def test_what_is_taken_is_the_longest_that_alternates(messages: list[Message]) -> None:
    begin = alternating_begin(messages)
    assert begin == messages[: len(begin)]
    assert all(m.role == (USER, ASSISTANT)[i % 2] and m.content.strip() for i, m in enumerate(begin))
    if len(begin) < len(messages):
        after = messages[len(begin)]
        assert after.role != (USER, ASSISTANT)[len(begin) % 2] or not after.content.strip()


def seed_file(folder: Path, *records: Any) -> Path:
    path = folder / "sharegpt.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


@pytest.mark.parametrize("mode", [SeedMode.CONTINUE, SeedMode.REANSWER])
def test_a_runs_folder_is_its_conversations(tmp_path: Path, mode: SeedMode) -> None:
    path = seed_file(tmp_path, {"conversations": SHAREGPT})
    assert read_seeds(tmp_path, mode) == read_seeds(path, mode)
    assert len(read_seeds(path, mode).seeds) == 1


def test_what_is_no_conversation_is_told_with_its_line(tmp_path: Path) -> None:
    path = seed_file(tmp_path, {"question": "Q"}, {"messages": OPENAI[1:]}, {"messages": []}, {"messages": OPENAI})
    with pytest.raises(SeedError) as caught:
        read_seeds(path, SeedMode.CONTINUE)
    assert [(bad.number, bad.reason) for bad in caught.value.bad_lines] == [
        (1, "it has no conversation: no list under any of conversations, items, messages, conversation, turns"),
        (2, "its conversation begins with assistant, not with the user"),
        (3, "it has no turn of a user, which continue mode needs"),
    ]
    assert [seed.line for seed in read_seeds(path, SeedMode.CONTINUE, skip_bad=True).seeds] == [4]


def test_a_conversation_of_which_nothing_is_left_is_a_bad_line(tmp_path: Path) -> None:
    path = seed_file(tmp_path, {"messages": OPENAI[:2]}, {"messages": OPENAI})
    found = read_seeds(path, SeedMode.CONTINUE, skip_bad=True, from_turn=-2)
    assert [bad.number for bad in found.bad_lines] == [1]
    assert [seed.turns for seed in found.seeds] == [FOUR]  # whole: what a run takes of it is its spec's
