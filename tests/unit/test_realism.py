"""The running measures of a simulated user."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.endings import FinishReason, repeats_itself
from platolm.mtld import mtld, words_of
from platolm.realism import Realism, observe
from platolm.role_slips import speaks_as_assistant
from platolm.simulators.cleaning import End
from platolm.simulators.guardrails import Fault


def talk(*contents: str, first: str = USER) -> list[Message]:
    """Turns that alternate."""
    roles = (USER, ASSISTANT) if first == USER else (ASSISTANT, USER)
    return [Message(roles[number % 2], content) for number, content in enumerate(contents)]


def test_rounds_are_questions_with_an_answer() -> None:
    assert observe(talk("hi", "hello", "bye")).num_rounds == 1
    assert observe(talk("welcome", "hi", "hello", first=ASSISTANT)).num_rounds == 1
    assert observe([Message(SYSTEM, "be kind"), *talk("hi", "hello")]).num_rounds == 1


def test_lengths_are_words_between_white_space() -> None:
    seen = observe(talk("how are  you?", "fine", "", "what?"))
    assert (seen.user_words, seen.assistant_words) == ([3, 0], [1, 1])


def test_diversity_is_per_question_that_has_words() -> None:
    seen = observe(talk("a b a b a b", "x", "42!", "y"))
    assert seen.mtlds == [mtld(words_of("a b a b a b"))]


def test_the_opening_is_the_first_user_turn_without_case_and_white_space() -> None:
    assert observe([Message(ASSISTANT, "Welcome"), *talk("Hello\n There", "x", "more")]).opening == "hello there"
    assert observe([]).opening is None


def test_a_long_utterance_repeats_any_earlier_one_and_a_short_one_only_the_last() -> None:
    assert observe(talk("tell me a story", "x", "why?", "y", "Tell me  a story", "z")).num_repeats == 1
    assert observe(talk("why?", "x", "how?", "y", "why?", "z")).num_repeats == 0
    assert observe(talk("why?", "x", "Why?", "y")).num_repeats == 1


@dataclass
class Spoken:
    """A turn as the rules of ending look at it."""

    role: str
    content: str
    finish_reason: FinishReason = FinishReason.STOP
    end: End | None = None
    fault: Fault | None = None


@given(st.lists(st.sampled_from(["why?", "Why?", "tell me a story", "Tell me  a story", "and on", ""]), max_size=8))
def test_repeats_are_what_would_have_ended_a_run(questions: list[str]) -> None:
    turns = [Spoken(role, content) for question in questions for role, content in ((USER, question), (ASSISTANT, "x"))]
    expected = sum(repeats_itself(turns[: end + 1]) for end, turn in enumerate(turns) if turn.role == USER)
    assert observe([Message(turn.role, turn.content) for turn in turns]).num_repeats == expected


@pytest.mark.parametrize(
    "content",
    [
        "I hope this helps! Bye.",
        "As an AI language model, I cannot say.",
        "Certainly! Here are five ideas",
        "Assistant: of course",
        "How can I  assist you today?",
        "I’m here to help.",
    ],
)
def test_a_user_who_speaks_as_the_assistant_slips(content: str) -> None:
    assert observe(talk(content, "x")).num_role_slips == 1


@pytest.mark.parametrize(
    "content",
    [
        "Here is my code, what is wrong?",
        "Are you an AI?",
        "Even as an AI, you could have an opinion.",
        "Is there anything else I can do?",
        "I am certain, certainly",
        "",
    ],
)
def test_a_user_who_speaks_as_a_user_does_not(content: str) -> None:
    assert observe(talk(content, "x")).num_role_slips == 0


def test_a_user_who_echoes_the_assistant_slips() -> None:
    assert observe(talk("what now", "Water the plant every day", "water the  plant every day", "x")).num_role_slips == 1
    assert observe(talk("what now", "Water it", "water it", "x")).num_role_slips == 0


def test_an_assistant_may_speak_as_one() -> None:
    assert observe(talk("hi", "As an AI language model, I hope this helps")).num_role_slips == 0
    assert speaks_as_assistant(["as", "an", "ai", "language", "model"])


def test_figures_are_means_and_shares() -> None:
    realism = Realism()
    realism.add(talk("tell me a story", "no", "tell me a story", "fine then"))
    realism.add(talk("Tell me a story", "I hope this helps"))
    assert realism.figures() == {
        "rounds": 1.5,
        "user_words": 4.0,
        "assistant_words": pytest.approx(7 / 3),
        "mtld": 4.0,
        "repeats": pytest.approx(1 / 3),
        "role_slips": 0.0,
        "distinct_openings": 0.5,
    }
    assert realism.round_counts == {1: 1, 2: 1}
    assert realism.user_lengths == {4: 3}
    assert realism.assistant_lengths == {1: 1, 2: 1, 4: 1}


def test_nothing_has_no_figures() -> None:
    assert Realism().figures() == {}


SAID = st.sampled_from(["why?", "tell me a story", "I hope this helps", ""])
TALKS = st.lists(st.lists(SAID, max_size=5), max_size=5)


@given(TALKS, TALKS)
def test_merged_parts_are_the_whole(one: list[list[str]], other: list[list[str]]) -> None:
    merged, whole = Realism(), Realism()
    part = Realism()
    for contents in one:
        merged.add(talk(*contents))
    for contents in other:
        part.add(talk(*contents))
    for contents in one + other:
        whole.add(talk(*contents))
    merged.merge(part)
    assert merged == whole


def test_it_comes_back_from_json() -> None:
    realism = Realism()
    realism.add(talk("tell me a story", "no"))
    assert Realism.model_validate_json(realism.model_dump_json()) == realism


def test_given_utterances_are_nobodys_but_others_may_repeat_them() -> None:
    slip = "As an AI language model, I cannot say."
    messages = talk("a b c", slip, "a b c", slip, "a b c")
    whole, seen = observe(messages), observe(messages, {0, 1, 2})
    assert (whole.user_words, whole.assistant_words, whole.num_repeats) == ([3, 3, 3], [8, 8], 2)
    assert (seen.user_words, seen.assistant_words, seen.num_repeats, len(seen.mtlds)) == ([3], [8], 1, 1)
    assert (seen.num_rounds, seen.opening) == (whole.num_rounds, whole.opening) == (2, "a b c")
    assert observe(talk(slip), {0}).num_role_slips == 0
