"""What a simulated user must not say: each fault is found by a pure function, retried within bounds, and counted."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

from platolm.conversation import USER
from platolm.repetition import MIN_REPEATED_WORDS, compared_words
from platolm.role_slips import slips_role
from platolm.simulators.cleaning import Cleaned

DEFAULT_RETRIES = 3

_FIRST_WORD = re.compile(r"[^\W\d_]+")
_LEAKED_TAG = re.compile(r"</?(?:think|thinking|thought|reasoning|analysis|scratchpad)>", re.IGNORECASE)
_LEAKED_BEGIN = re.compile(
    r"\s*(?:(?:okay|ok|alright|hmm)[,.\s]+(?:so[,.\s]+)?the user\b"
    r"|(?:i|we) (?:need to|have to|should|must) (?:respond|reply|write|act|role-?play)"
    r" as (?:the|a) (?:user|person|human)\b)",
    re.IGNORECASE,
)


class Fault(StrEnum):
    """What is wrong with an utterance."""

    REASONING_LEAK = "reasoning_leak"
    """It thinks aloud about its task."""
    ROLE_SLIP = "role_slip"
    """It speaks as the assistant, or writes both sides."""
    EARLY_END = "early_end"
    """It says goodbye before the conversation has got anywhere."""
    FIRST_TOKEN = "first_token"
    """It begins with a word that the profile filters."""
    REPEATED = "repeated"
    """It says again, word for word, what was said before, or what the simulator was told."""
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"


class Step(StrEnum):
    """What to do with an utterance."""

    TAKE = "take"
    RETRY = "retry"
    """Make it again, with another sampling seed."""
    DROP = "drop"
    """It must not stand in a dataset, and was retried often enough: the conversation ends before it."""


_DROPPED = frozenset({Fault.REASONING_LEAK, Fault.ROLE_SLIP})


def is_dropped(fault: Fault | None) -> bool:
    """Whether an utterance with this fault must not stand in a dataset."""
    return fault in _DROPPED


class SaidTurn(Protocol):
    """What the guardrails look at of what was said before."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...


@dataclass(frozen=True)
class Guardrails:
    """Which guardrails a profile has. Lengths are in words; `min_turns` counts the utterances of both sides.

    `first_words` holds the words that an utterance must not begin with, in their exact case: a model's first token
    `I` also begins `I'm`, and so does the word here.
    """

    first_words: frozenset[str] = frozenset()
    min_turns: int = 0
    min_words: int = 0
    max_words: int | None = None
    repeats: bool = True
    role_slips: bool = True
    reasoning: bool = True

    def no_end_before(self, num_turns: int) -> Guardrails:
        """The same, with at least the run's own minimum."""
        return self if num_turns <= self.min_turns else replace(self, min_turns=num_turns)

    def fault_of(self, said: Cleaned, before: Sequence[SaidTurn], told: str | None = None) -> Fault | None:
        """The first fault of a user's utterance after the turns `before`; None: it is fine.

        A goodbye may be as short, or as usual, as it likes. `told` is what the simulator knows of its user.
        """
        if self.reasoning and leaks_reasoning(said.content):
            return Fault.REASONING_LEAK
        if self.role_slips and slips_role(said.content):
            return Fault.ROLE_SLIP
        if said.end is not None:
            return Fault.EARLY_END if len(before) + 1 < self.min_turns else None
        if first_word(said.content) in self.first_words:
            return Fault.FIRST_TOKEN
        if self.repeats and is_repeated(said.content, before, told):
            return Fault.REPEATED
        return self._length_fault(said.content)

    def _length_fault(self, content: str) -> Fault | None:
        num_words = len(content.split())
        if num_words < self.min_words:
            return Fault.TOO_SHORT
        return Fault.TOO_LONG if self.max_words is not None and num_words > self.max_words else None


NO_GUARDRAILS = Guardrails(repeats=False, role_slips=False, reasoning=False)


class Tries:
    """The tries at one utterance: which faults there were, and how often it may still be made again."""

    def __init__(self, retries: int = DEFAULT_RETRIES) -> None:
        self.faults: Counter[Fault] = Counter()
        self._left = retries

    def judge(self, fault: Fault | None, *, is_wanted: bool = True) -> Step:
        """Count a try's fault, and say what to do with the utterance.

        One without a fault that is not wanted either takes a retry too. With no retry left a clumsy utterance is taken,
        as the model seems not to do better; one that gives the simulation away is dropped.
        """
        if fault is None and is_wanted:
            return Step.TAKE
        if fault is not None:
            self.faults[fault] += 1
        if self._left > 0:
            self._left -= 1
            return Step.RETRY
        return Step.DROP if is_dropped(fault) else Step.TAKE


def first_word(content: str) -> str | None:
    """The letters that an utterance begins with; None where it begins with none."""
    found = _FIRST_WORD.match(content.lstrip())
    return found.group() if found else None


def leaks_reasoning(content: str) -> bool:
    """Whether the simulator thinks aloud: a tag of a thought, or a first sentence about the task itself."""
    return bool(_LEAKED_TAG.search(content) or _LEAKED_BEGIN.match(content))


def is_repeated(content: str, before: Sequence[SaidTurn], told: str | None = None) -> bool:
    """Whether an utterance is, word for word, an earlier one of either side, or holds all that the user was told.

    Case and white space do not count. An utterance under `MIN_REPEATED_WORDS` words ("Thank you!") counts only when
    it equals the user's directly preceding one.
    """
    words = compared_words(content)
    if not words:
        return False
    if len(words) < MIN_REPEATED_WORDS:
        own = [turn for turn in before if turn.role == USER][-1:]
        return any(compared_words(turn.content) == words for turn in own)
    if any(compared_words(turn.content) == words for turn in before):
        return True
    told_words = compared_words(told or "")
    return bool(told_words) and f" {' '.join(told_words)} " in f" {' '.join(words)} "
