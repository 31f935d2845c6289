"""What a simulator is told, and instructions with fields."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.errors import SpecError
from platolm.simulators.told import Told, check_instruction, render, told_and_spoken

ALL = Told(system_prompt="Be brief.", intent="An egg.", persona=" A cook. ", profile=None, goal=" \n")


def test_blank_texts_are_not_said() -> None:
    assert ALL.said("goal", "persona", "profile", "intent") == ["A cook.", "An egg."]


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("You are {persona}", "You are A cook."),
        ("{persona}{intent}", "A cook.An egg."),
        ("{persona}: {goal}", "A cook.:"),
        ("a\nYou reach {goal}\nb", "a\nb"),
        ("a\n\nYou reach {goal}\n\nb", "a\n\nb"),
        ("{goal}\n\n\nb\n\n", "b"),
        ("a {{goal}} }}{{", "a {goal} }{"),
        ("Say {end_marker}", "Say <end>"),
        ("", ""),
        ("{goal}", ""),
    ],
)
def test_what_is_rendered(instruction: str, expected: str) -> None:
    assert render(instruction, ALL, end_marker="<end>") == expected


def test_what_is_filled_in_is_not_read_again() -> None:
    persona = "a {goal} {{x}} {\n\n\n}"
    assert render("You are {persona}.", Told(persona=persona, goal="no")) == f"You are {persona}."


@given(text=st.text(min_size=1).filter(str.strip))
def test_any_text_can_be_filled_in(text: str) -> None:
    assert render("<{persona}>", Told(persona=text)) == f"<{text.strip()}>"


@pytest.mark.parametrize(
    ("instruction", "reason"),
    [
        ("{name}", r"line 1: \{name\} is not a field; there are \{system_prompt\}, \{intent\}"),
        ("a\nb {}", r"line 2: \{\} is not a field"),
        ("{end_marker}", r"\{end_marker\} is not a field"),
        ("{persona.__class__}", r"\{persona.__class__\} is not a field"),
        ("{persona[0]}", r"\{persona\[0\]\} is not a field"),
        ("{persona!r}", "a field is its name alone"),
        ("{persona:>9}", "a field is its name alone"),
        ("a\n{persona\n}", "line 2: a brace stands alone"),
        ("}", r"line 1: a brace stands alone; write \{\{ or \}\}"),
    ],
)
def test_a_bad_instruction_says_where_and_what_to_do(instruction: str, reason: str) -> None:
    with pytest.raises(SpecError, match=rf"^instruction: .*{reason}"):
        check_instruction(instruction)
    with pytest.raises(SpecError):
        render(instruction, ALL)


def test_system_messages_are_told() -> None:
    turns = [
        Message(SYSTEM, " You want an egg. "),
        Message(USER, "hi"),
        Message(SYSTEM, ""),
        Message(ASSISTANT, "Yes?"),
        Message(SYSTEM, "Hurry."),
    ]
    told, spoken = told_and_spoken(turns, Told(system_prompt="Be brief.", goal="egg"))
    assert told == Told(system_prompt="Be brief.\n\nYou want an egg.\n\nHurry.", goal="egg")
    assert spoken == [Message(USER, "hi"), Message(ASSISTANT, "Yes?")]


def test_without_system_messages_nothing_changes() -> None:
    assert told_and_spoken([Message(USER, "hi")]) == (Told(), [Message(USER, "hi")])
