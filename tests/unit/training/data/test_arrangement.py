"""Writing dialogues down several times, some of them joined: nothing is lost, and the seed says it all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from platolm.conversation import ASSISTANT, SYSTEM, USER
from platolm.dyadic import Turn
from training.data.arrangement import arranged, joined
from training.data.dialogues import Dialogue
from training.data.segments import Frame

FRAME = Frame(openings={USER: 10, ASSISTANT: 12}, names={USER: 2, ASSISTANT: 4})


def talk(name: str, num_turns: int = 2, *, num_tokens: int = 5) -> Dialogue:
    """An alternating dialogue; a user's turn of five tokens takes 9, the assistant's 11, the header 8."""
    roles = (USER, ASSISTANT) * num_turns
    return Dialogue([Turn(roles[i], f"{name}{i}", [7] * num_tokens) for i in range(num_turns)])


def contents(dialogues: Iterable[Dialogue]) -> list[list[str]]:
    return [[turn.content for turn in dialogue.spoken] for dialogue in dialogues]


def written(dialogues: list[Dialogue], *, share: float, times: int = 1, seed: str = "1") -> list[list[str]]:
    settings = {"max_length": 50, "join_share": share, "arrangements": times, "seed": seed}
    return contents(arranged(dialogues, FRAME, **settings))  # type: ignore[arg-type]


def test_joining_fills_a_row_and_no_more() -> None:
    talks = [talk(name) for name in "abcde"]
    assert FRAME.length([*talks[0].spoken, *talks[1].spoken]) == 48
    for max_length in (48, 67):
        assert contents(joined(talks, FRAME, max_length)) == [
            ["a0", "a1", "b0", "b1"],
            ["c0", "c1", "d0", "d1"],
            ["e0", "e1"],
        ]
    assert contents(joined(talks, FRAME, 68))[0] == ["a0", "a1", "b0", "b1", "c0", "c1"]
    assert len(contents(joined(talks, FRAME, 47))) == 5


def test_a_dialogue_that_ends_with_the_user_is_the_last_of_its_row() -> None:
    assert contents(joined([talk("a"), talk("b", 3), talk("c")], FRAME, 1000)) == [
        ["a0", "a1", "b0", "b1", "b2"],
        ["c0", "c1"],
    ]


def test_what_cannot_be_joined_stays_as_it_is() -> None:
    instructed = Dialogue(talk("s").spoken, [Turn(SYSTEM, "Be kind.")])
    opened = Dialogue([Turn(ASSISTANT, "o0", [7])])
    out = list(joined([talk("a"), instructed, opened, talk("b")], FRAME, 1000))
    assert out[:2] == [instructed, opened]
    assert contents(out[2:]) == [["a0", "a1", "b0", "b1"]]


def test_a_dialogue_longer_than_a_row_stays_alone() -> None:
    assert contents(joined([talk("a"), talk("x", num_tokens=90), talk("b")], FRAME, 50)) == [
        ["a0", "a1"],
        ["x0", "x1"],
        ["b0", "b1"],
    ]


def test_one_arrangement_without_joins_keeps_the_order() -> None:
    talks = [talk(name) for name in "abcdefgh"]
    assert written(talks, share=0.0) == contents(talks)


def test_each_arrangement_holds_every_turn_once_in_another_order() -> None:
    talks = [talk(str(i)) for i in range(20)]
    rows = written(talks, share=0.5, times=3)
    assert Counter(text for row in rows for text in row) == Counter(
        {turn.content: 3 for one in talks for turn in one.spoken}
    )
    assert len(rows) == 3 * (10 + 5)
    arrangements = [rows[begin : begin + 15] for begin in (0, 15, 30)]
    assert all(sum(len(row) == 4 for row in one) == 5 for one in arrangements)
    assert arrangements[0] != arrangements[1] != arrangements[2]


def test_the_seed_decides() -> None:
    talks = [talk(str(i)) for i in range(20)]
    assert written(talks, share=0.5, seed="125 0") == written(talks, share=0.5, seed="125 0")
    assert written(talks, share=0.5, seed="125 0") != written(talks, share=0.5, seed="125 1")


def test_nothing_comes_of_nothing() -> None:
    assert written([], share=0.5, times=2) == []
