"""The held-out split: by opening alone, stable under growth, different for another salt."""

from __future__ import annotations

import pytest

from platolm.conversation import ASSISTANT, USER, Conversation, Message
from platolm.opening import fraction_of, is_held_out, normalised, opening_of


def conversation(*texts: str) -> Conversation:
    return Conversation("x", tuple(Message((USER, ASSISTANT)[i % 2], text) for i, text in enumerate(texts)))


def held_out(*texts: str, share: float = 0.5, salt: str = "125") -> bool:
    return is_held_out(conversation(*texts), share=share, salt=salt)


def test_a_fraction_is_the_same_on_every_machine() -> None:
    assert fraction_of("how do i bake bread", salt="split") == pytest.approx(0.249045, abs=1e-6)
    assert fraction_of("how do i bake bread", salt="125") == pytest.approx(0.089854, abs=1e-6)


def test_openings_that_differ_in_case_space_and_signs_are_on_one_side() -> None:
    assert normalised("  How do I\n bake BREAD?! ") == "how do i bake bread"
    openings = [f"How do I bake {i} loaves?" for i in range(50)]
    for opening in openings:
        assert held_out(opening, "Slowly.") == held_out(opening.upper() + "  !", "Fast.", "Why?")
    assert {held_out(opening) for opening in openings} == {True, False}


def test_the_share_is_about_what_was_asked_for_and_a_larger_one_holds_the_smaller() -> None:
    small = {i for i in range(4000) if held_out(f"Question {i}", share=0.05)}
    large = {i for i in range(4000) if held_out(f"Question {i}", share=0.1)}
    assert len(small) / 4000 == pytest.approx(0.05, abs=0.01)
    assert small < large
    assert not any(held_out(f"Question {i}", share=0.0) for i in range(100))
    assert all(held_out(f"Question {i}", share=1.0) for i in range(100))


def test_another_salt_holds_out_others() -> None:
    sides = [{i for i in range(400) if held_out(f"Question {i}", salt=salt)} for salt in ("1", "2")]
    assert sides[0] != sides[1]


def test_the_opening_is_the_first_thing_the_user_says() -> None:
    messages = (Message("system", "Be kind."), Message(ASSISTANT, "Hello"), Message(USER, "Tea?"))
    assert opening_of(Conversation("x", messages)) == "Tea?"
    assert opening_of(Conversation("x", messages[:2])) == ""


def test_conversations_without_a_users_word_or_letter_are_spread_too() -> None:
    silent = [Conversation("x", (Message(ASSISTANT, f"Story {i}"),)) for i in range(40)]
    assert {is_held_out(one, share=0.5, salt="125") for one in silent} == {True, False}
    assert {held_out(sign) for sign in ("😀", "🌍", "?", "…", "👍", "🍵")} == {True, False}


def test_openings_of_other_scripts_count_letter_by_letter() -> None:
    assert normalised("Как дела?") == "как дела"
    assert {held_out(f"问题{sign}") for sign in "一二三四五六七八"} == {True, False}
