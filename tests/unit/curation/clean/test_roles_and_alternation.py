"""Names of roles, and turns that alternate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.clean.alternation import Alternation
from curation.clean.normalise import Roles
from curation.clean.stages import Dropped
from curation.dialogue import Dialogue
from platolm.conversation import Message

LETTERS = {"u": "user", "a": "assistant", "s": "system", "t": "tool"}


def dialogue(*turns: tuple[str, str]) -> Dialogue:
    return Dialogue("d", tuple(Message(LETTERS.get(role, role), text) for role, text in turns))


def repaired(*turns: tuple[str, str]) -> list[tuple[str, str]] | Dropped:
    outcome = Alternation().apply(dialogue(*turns))
    if not isinstance(outcome, Dialogue):
        assert isinstance(outcome, Dropped)
        return outcome
    return [(message.role[0], message.content) for message in outcome.messages]


@pytest.mark.parametrize(
    ("name", "role"),
    [("Human", "user"), (" USER ", "user"), ("prompter", "user"), ("model", "assistant"), ("developer", "system")],
)
def test_spellings_of_a_role(name: str, role: str) -> None:
    outcome = Roles().apply(dialogue((name, "x")))
    assert isinstance(outcome, Dialogue)
    assert outcome.messages == (Message(role, "x"),)


def test_a_dialogue_with_a_further_side_is_dropped() -> None:
    assert Roles().apply(dialogue(("u", "q"), ("observation", "{}"))) == Dropped("unknown role", "observation")


def test_known_roles_leave_the_dialogue_as_it_is() -> None:
    before = dialogue(("s", "x"), ("u", "q"), ("a", "r"))
    assert Roles().apply(before) is before
    assert Alternation().apply(before) is before


def test_turns_of_one_role_become_one() -> None:
    assert repaired(("u", "one "), ("u", " two"), ("a", "x")) == [("u", "one \n\n two"), ("a", "x")]


def test_a_turn_said_twice_is_kept_once() -> None:
    assert repaired(("u", "q"), ("u", "q"), ("a", "x"), ("a", "y")) == [("u", "q"), ("a", "x\n\ny")]


def test_leading_answers_and_blank_turns_go_and_a_closing_question_stays() -> None:
    turns = (("a", "hello"), ("u", "q"), ("a", " \n"), ("u", "still there?"))
    assert repaired(*turns) == [("u", "q\n\nstill there?")]


def test_system_messages_stand_first_as_one() -> None:
    assert repaired(("s", "be"), ("s", "kind"), ("a", "x"), ("u", "q")) == [("s", "be\n\nkind"), ("u", "q")]


@pytest.mark.parametrize(
    ("turns", "dropped"),
    [
        ([("s", "x"), ("a", "y")], Dropped("no user turn")),
        ([], Dropped("no user turn")),
        ([("u", "q"), ("s", "x"), ("a", "y")], Dropped("system message amid the turns", "x")),
        ([("u", "q"), ("t", "x")], Dropped("unknown role", "tool")),
    ],
)
def test_what_cannot_be_repaired_is_dropped(turns: list[tuple[str, str]], dropped: Dropped) -> None:
    assert repaired(*turns) == dropped


@given(st.lists(st.tuples(st.sampled_from("uuuaaast"), st.text("ab \n", max_size=3)), max_size=10))
def test_what_comes_out_alternates_from_the_user_and_lost_no_word_of_theirs(turns: list[tuple[str, str]]) -> None:
    after = repaired(*turns)
    if isinstance(after, Dropped):
        return
    spoken = [role for role, _ in after if role != "s"]
    assert spoken == [("u", "a")[n % 2] for n in range(len(spoken))]
    assert spoken
    said = [text for role, text in turns if role == "u" and text.strip()]
    assert all(any(text in kept for role, kept in after if role == "u") for text in said)
    assert repaired(*after) == after
