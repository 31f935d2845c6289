"""The rules that end a conversation, as pure functions of what has been said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.spec import Endings

MIN_REPEATED_WORDS = 4
"""A shorter utterance ("Thank you!") may come again; it counts as repeated only twice in a row."""
LOOP_MIN_REPEATS = 4
LOOP_MIN_WORDS = 24
LOOP_MAX_PERIOD = 40
END_MARKERS = ("<e>",)
"""How Socratic says that it has nothing more to ask (experimental in the original)."""

_WORD = re.compile(r"\w+|[^\w\s]")
_AVOIDABLE = frozenset(
    {
        TerminationReason.USER_ENDED,
        TerminationReason.STOP_PHRASE,
        TerminationReason.REPETITION,
        TerminationReason.EMPTY,
    }
)


class FinishReason(StrEnum):
    """Why one utterance ended."""

    STOP = "stop"
    """The speaker ended it."""
    LENGTH = "length"
    """It reached the speaker's `max_tokens`."""
    CONTEXT = "context"
    """It reached the conversation's context limit."""
    SEED = "seed"
    """It was given, not generated."""


class SpokenTurn(Protocol):
    """What the rules look at."""

    @property
    def role(self) -> str: ...
    @property
    def content(self) -> str: ...
    @property
    def finish_reason(self) -> FinishReason: ...


def ending_of(turns: Sequence[SpokenTurn], endings: Endings) -> TerminationReason | None:
    """Whether the last turn ended the conversation, and why; None: it goes on.

    That a next prompt leaves no room in the context is known only to the next speaker and not decided here.
    """
    if not turns:
        return None
    last = turns[-1]
    if last.finish_reason is FinishReason.CONTEXT:
        return TerminationReason.CONTEXT_FULL
    if not last.content.strip():
        return TerminationReason.EMPTY
    if last.role == USER and last.finish_reason is not FinishReason.SEED:
        if endings.user_ended and any(marker in last.content for marker in END_MARKERS):
            return TerminationReason.USER_ENDED
        if endings.stop_phrases and says_one_of(last.content, endings.stop_phrases):
            return TerminationReason.STOP_PHRASE
    if endings.repetition and last.finish_reason is not FinishReason.SEED and (repeats_itself(turns) or is_loop(last)):
        return TerminationReason.REPETITION
    if endings.max_turns is not None and last.role == ASSISTANT and len(turns) + 2 > endings.max_turns:
        return TerminationReason.TURN_LIMIT
    return None


def should_regenerate(reason: TerminationReason | None, num_turns: int, endings: Endings) -> bool:
    """Whether an utterance that ends a conversation of `num_turns` turns (itself included) should be made again.

    Too early an end, or a blank one where blanks do not end; how often is bounded by the run's `retries`.
    """
    if reason is TerminationReason.EMPTY and not endings.empty:
        return True
    return reason in _AVOIDABLE and num_turns < endings.min_turns


def says_one_of(text: str, phrases: Sequence[str]) -> bool:
    """Whether a text holds one of the phrases as whole words; case and white space do not count."""
    said = f" {' '.join(_WORD.findall(text.casefold()))} "
    return any(f" {' '.join(_WORD.findall(phrase.casefold()))} " in said for phrase in phrases)


def repeats_itself(turns: Sequence[SpokenTurn]) -> bool:
    """Whether the last turn says again, word for word, what its speaker said before.

    Case and white space do not count. An utterance under `MIN_REPEATED_WORDS` words counts only when it equals the
    speaker's directly preceding one.
    """
    last = turns[-1]
    own = [turn for turn in turns[:-1] if turn.role == last.role]
    words = _words(last)
    if len(words) < MIN_REPEATED_WORDS:
        own = own[-1:]
    return any(_words(turn) == words for turn in own)


def is_loop(turn: SpokenTurn) -> bool:
    """Whether an utterance that did not end by itself got stuck: its tail is one phrase, over and over."""
    if turn.finish_reason is not FinishReason.LENGTH:
        return False
    words = _words(turn)
    return any(_tail_repeats(words, period) for period in range(1, LOOP_MAX_PERIOD + 1))


def kept_turns(turns: Sequence[SpokenTurn], reason: TerminationReason) -> int:
    """How many turns of an ended conversation belong into the dataset.

    What ended it is left out: a blank or repeated utterance, one cut by the context, and a question that hangs without
    an answer (the original drops it too). The first round stays whatever ended it, blank utterances aside, so that a
    seed is never lost.
    """
    kept = len(turns)
    cut_by_context = bool(turns) and turns[-1].finish_reason is FinishReason.CONTEXT
    if turns and (reason in (TerminationReason.EMPTY, TerminationReason.REPETITION) or cut_by_context):
        kept -= 1
    while kept and turns[kept - 1].role == USER:
        kept -= 1
    if kept:
        return kept
    first_round = list(turns[:2])
    while first_round and not first_round[-1].content.strip():
        first_round.pop()
    return len(first_round)


def _words(turn: SpokenTurn) -> list[str]:
    return turn.content.casefold().split()


def _tail_repeats(words: Sequence[str], period: int) -> bool:
    repeats = max(LOOP_MIN_REPEATS, -(-LOOP_MIN_WORDS // period))
    length = repeats * period
    if len(words) < length:
        return False
    tail = words[-length:]
    return all(tail[i] == tail[i % period] for i in range(period, length))
