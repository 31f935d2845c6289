"""The rules that end a conversation, as pure functions of what has been said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum
from typing import Protocol

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.goodbyes import LOOP_TURNS, is_goodbye_loop
from platolm.repetition import compared_words, repeatable
from platolm.simulators.cleaning import End
from platolm.simulators.guardrails import Fault, is_dropped
from platolm.spec import Endings

LOOP_MIN_REPEATS = 4
LOOP_MIN_WORDS = 24
LOOP_MAX_PERIOD = 40

_WORD = re.compile(r"\w+|[^\w\s]")
_AVOIDABLE = frozenset(
    {
        TerminationReason.USER_ENDED,
        TerminationReason.STOP_PHRASE,
        TerminationReason.REPETITION,
        TerminationReason.EMPTY,
        TerminationReason.GOODBYE_LOOP,
    }
)
_LEFT_OUT = (TerminationReason.EMPTY, TerminationReason.REPETITION, TerminationReason.UNUSABLE)


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
    @property
    def end(self) -> End | None:
        """How the utterance says that it is the last; None: it does not."""
        ...

    @property
    def fault(self) -> Fault | None:
        """What was still wrong with it when it could not be made again; None: nothing."""
        ...


def ending_of(turns: Sequence[SpokenTurn], endings: Endings) -> TerminationReason | None:
    """Whether the last turn ended the conversation, and why; None: it goes on.

    That a next prompt leaves no room in the context is known only to the next speaker and not decided here.
    """
    if not turns:
        return None
    last = turns[-1]
    if last.finish_reason is FinishReason.CONTEXT:
        return TerminationReason.CONTEXT_FULL
    if is_dropped(last.fault):
        return TerminationReason.UNUSABLE
    goodbye = goodbye_at(turns) if endings.user_ended else None
    if goodbye is not None and len(turns) - 1 - goodbye >= endings.extra_turns:
        return TerminationReason.USER_ENDED
    if not last.content.strip() and goodbye != len(turns) - 1:
        return TerminationReason.EMPTY
    if last.finish_reason is not FinishReason.SEED:
        if last.role == USER and endings.stop_phrases and says_one_of(last.content, endings.stop_phrases):
            return TerminationReason.STOP_PHRASE
        if endings.goodbye_loops and is_goodbye_loop(turns) and turns[-2].finish_reason is not FinishReason.SEED:
            return TerminationReason.GOODBYE_LOOP
    if endings.repetition and last.finish_reason is not FinishReason.SEED and (repeats_itself(turns) or is_loop(last)):
        return TerminationReason.REPETITION
    if endings.max_turns is not None and last.role == ASSISTANT and len(turns) + 2 > endings.max_turns:
        return TerminationReason.TURN_LIMIT
    return None


def goodbye_at(turns: Sequence[SpokenTurn]) -> int | None:
    """Where the user said goodbye first; None: it has not."""
    return next((position for position, turn in enumerate(turns) if turn.end is not None and turn.role == USER), None)


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

    Case and white space do not count. A short utterance (`repeatable`) counts only when it equals the
    speaker's directly preceding one.
    """
    last = turns[-1]
    own = [turn for turn in turns[:-1] if turn.role == last.role]
    words = compared_words(last.content)
    return any(compared_words(turn.content) == words for turn in repeatable(own, len(words)))


def is_loop(turn: SpokenTurn) -> bool:
    """Whether an utterance that did not end by itself got stuck: its tail is one phrase, over and over."""
    if turn.finish_reason is not FinishReason.LENGTH:
        return False
    words = compared_words(turn.content)
    return any(_tail_repeats(words, period) for period in range(1, LOOP_MAX_PERIOD + 1))


def kept_turns(turns: Sequence[SpokenTurn], reason: TerminationReason) -> int:
    """How many turns of an ended conversation belong into the dataset.

    What ended it is left out: a blank or repeated utterance, one that gives the simulation away, one cut by the
    context, all but the first two goodbyes, and a question that hangs without an answer (the original drops it too).
    The first round stays whatever ended it, blank utterances aside, so that a seed is never lost; but for one that
    gives the simulation away.
    """
    kept = len(turns)
    cut_by_context = bool(turns) and turns[-1].finish_reason is FinishReason.CONTEXT
    if turns and (reason in _LEFT_OUT or cut_by_context):
        kept -= 1
    if reason is TerminationReason.GOODBYE_LOOP:
        kept = max(kept - (LOOP_TURNS - 2), 0)
    while kept and turns[kept - 1].role == USER:
        kept -= 1
    if kept:
        return kept
    first_round = list(turns[:2])
    while first_round and (not first_round[-1].content.strip() or is_dropped(first_round[-1].fault)):
        first_round.pop()
    return len(first_round)


def _tail_repeats(words: Sequence[str], period: int) -> bool:
    repeats = max(LOOP_MIN_REPEATS, -(-LOOP_MIN_WORDS // period))
    length = repeats * period
    if len(words) < length:
        return False
    tail = words[-length:]
    return all(tail[i] == tail[i % period] for i in range(period, length))
