"""From a record to a dialogue that can be learned from: its turns with their ids, or the reason why not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import Any

from platolm.conversation import SYSTEM, Conversation, from_record
from platolm.dyadic import DyadicProfile, Turn
from platolm.errors import BadLine, ConversationError
from platolm.tokenizer import HubTokenizer, TextTokenizer
from platolm.tokenizing import as_generated
from training.data.report import SkipReason

TurnLimits = Mapping[str, int]
"""Longest turn in tokens, by role; a role that is not named has no limit."""

_BATCH_TEXT = 1 << 20  # characters of one call: the tokenizer's own account of a text takes many times its size


@dataclass(frozen=True)
class Dialogue:
    """Spoken turns, and the system messages that stand before them all. `ended_early`: not all of it is here."""

    spoken: Sequence[Turn]
    system: Sequence[Turn] = ()
    ended_early: bool = False


class UnusableRecordError(ConversationError):
    """A record gives no dialogue; counted, never raised out of this package."""

    def __init__(self, reason: SkipReason, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def conversation_of(record: Any, line: int) -> Conversation:
    """The record as a conversation.

    Raises:
        UnusableRecordError: it is a `BadLine`, or has another shape.
    """
    if isinstance(record, BadLine):
        raise UnusableRecordError(SkipReason.NOT_JSON, record.reason)
    try:
        return from_record(record, default_id=str(line))
    except ConversationError as error:
        raise UnusableRecordError(SkipReason.NOT_A_CONVERSATION, str(error)) from error


def dialogue_of(
    record: Mapping[str, Any],
    conversation: Conversation,
    profiles: Sequence[DyadicProfile],
    tokenizer: HubTokenizer,
) -> Dialogue:
    """The conversation up to its first empty turn; recorded ids stay, other turns are without ids yet.

    Turns of one role in a row and a first turn of the assistant are kept: the format can say them.

    Raises:
        UnusableRecordError: no turn of the profiles' roles is left.
    """
    turns: Sequence[Turn] = ()
    for profile in profiles:
        generated = as_generated(record, conversation, profile, tokenizer)
        turns = _merged(turns, generated)
    targets = {profile.target_role for profile in profiles}
    spoken = [turn for turn in turns if turn.role != SYSTEM]
    _require_target(spoken, targets, SkipReason.NOTHING_TO_LEARN, "roles: " + (_roles_of(spoken) or "none"))
    num_kept = next((n for n, turn in enumerate(spoken) if not turn.content.strip()), len(spoken))
    _require_target(spoken[:num_kept], targets, SkipReason.EMPTY_TURN, f"turn {num_kept} is empty")
    system = [turn for turn in turns if turn.role == SYSTEM and turn.content.strip()]
    return Dialogue(spoken[:num_kept], system, ended_early=num_kept < len(spoken))


def encoded(dialogues: Sequence[Dialogue], tokenizer: HubTokenizer) -> list[Dialogue]:
    """The dialogues with the ids of every spoken turn, in few calls of the tokenizer."""
    texts = [turn.content for dialogue in dialogues for turn in dialogue.spoken if turn.content_ids is None]
    ids = (one for batch in _batches(texts) for one in tokenizer.encode_many(batch))
    return [replace(dialogue, spoken=[_with_ids(turn, ids) for turn in dialogue.spoken]) for dialogue in dialogues]


def encode_turns(conversation: Conversation, tokenizer: TextTokenizer) -> list[Turn]:
    """The conversation's turns with their ids, so that composing again encodes no content."""
    return [Turn(m.role, m.content, tokenizer.encode(m.content)) for m in conversation.messages]


def cut_before_long_turn(turns: Sequence[Turn], limits: TurnLimits) -> list[Turn]:
    """The turns before the first that is longer than its role's limit."""
    kept: list[Turn] = []
    for turn in turns:
        if len(turn.content_ids or ()) > limits.get(turn.role, len(turn.content_ids or ())):
            break
        kept.append(turn)
    return kept


def within_limits(dialogue: Dialogue, targets: AbstractSet[str], limits: TurnLimits) -> Dialogue:
    """The encoded dialogue up to its first over-long turn.

    Raises:
        UnusableRecordError: no turn of a role in `targets` is left.
    """
    kept = cut_before_long_turn(dialogue.spoken, limits)
    if len(kept) == len(dialogue.spoken):
        return dialogue
    size = len(dialogue.spoken[len(kept)].content_ids or ())
    _require_target(kept, targets, SkipReason.LONG_TURN, f"turn {len(kept)} has {size:,} tokens")
    return replace(dialogue, spoken=kept, ended_early=True)


def _require_target(turns: Sequence[Turn], targets: AbstractSet[str], reason: SkipReason, detail: str) -> None:
    if not any(turn.role in targets for turn in turns):
        raise UnusableRecordError(reason, detail)


def _roles_of(turns: Iterable[Turn]) -> str:
    return ", ".join(sorted({turn.role for turn in turns}))


def _merged(turns: Sequence[Turn], others: Sequence[Turn]) -> Sequence[Turn]:
    """The same turns read for two profiles: ids from whichever has them."""
    if not turns:
        return others
    return [one if one.content_ids is not None else other for one, other in zip(turns, others, strict=True)]


def _with_ids(turn: Turn, ids: Iterator[list[int]]) -> Turn:
    return turn if turn.content_ids is not None else replace(turn, content_ids=next(ids))


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in texts:
        batch.append(text)
        size += len(text)
        if size >= _BATCH_TEXT:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
