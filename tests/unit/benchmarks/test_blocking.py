"""The paper's way, as far as it goes without a model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from benchmarks.blocking import Said, prompt_text, utterances
from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PLATOLM, SOCRATIC


class Scripted:
    """Says 10 tokens at a time; a prompt has 10 for every utterance before."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.histories: list[int] = []

    def say(self, history: Sequence[Said], context_tokens: int) -> Said | None:
        self.histories.append(len(history))
        length = 10 * len(history)
        return None if length >= context_tokens else Said(self.role, "x", length, 10)


def roles_said(count: int, *, max_turns: int | None, context_tokens: int) -> tuple[str, list[int]]:
    simulator, respondent = Scripted(USER), Scripted(ASSISTANT)
    said = utterances([simulator, respondent], max_turns=max_turns, context_tokens=context_tokens)
    roles = "".join(one.role[0] for one in islice(said, count))
    return roles, simulator.histories


def test_a_prompt_is_text_with_control_tokens() -> None:
    history = [Said(USER, "Hi", 1, 1), Said(ASSISTANT, "Hello.", 1, 1)]
    assert prompt_text([], SOCRATIC, "<s>", "</s>") == f"<s>{SOCRATIC.header}Human: <s>"
    expected = f"<s>{PLATOLM.header}Human: <s>Hi</s>Assistant: <s>Hello.</s>Assistant: <s>"
    assert prompt_text(history, PLATOLM, "<s>", "</s>") == expected


def test_sides_alternate_and_a_dialogue_ends_by_its_turns() -> None:
    assert roles_said(7, max_turns=4, context_tokens=1000) == ("uauauau", [0, 2, 0, 2])


def test_a_question_that_exceeds_the_context_ends_the_dialogue() -> None:
    assert roles_said(4, max_turns=None, context_tokens=30) == ("uauu", [0, 2, 0])


def test_a_prompt_without_room_for_an_answer_ends_the_dialogue() -> None:
    assert roles_said(4, max_turns=None, context_tokens=10) == ("uuuu", [0, 0, 0, 0])
