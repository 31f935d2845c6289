"""A dialogue that is too long for a training row becomes several, parted between turns, measured in the real format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any

from curation.clean.settings import StageName
from curation.clean.stages import Outcome
from curation.dialogue import Dialogue
from platolm.conversation import SYSTEM, USER, Message
from platolm.dyadic import PROFILES, Turn, compose
from platolm.tokenizer import HubTokenizer, load_tokenizer


class Split:
    """Part a dialogue so that each segment, composed under either profile's header, has at most `max_length` tokens.

    Every spoken turn is in exactly one segment, in order, so that each is learned once, whichever role learns. An
    answer stays with its question wherever the two fit into a row; a turn that does not fit even alone stands alone,
    for training to cut. Leading system messages are part of the header, and so of every segment. Segments are named
    `ID_0`, `ID_1`, ….

    Args:
        max_length: tokens of a row.
        tokenizer: a model folder or a hub name; loaded at the first dialogue.
    """

    name = StageName.SPLIT.value

    def __init__(self, max_length: int, tokenizer: str) -> None:
        self._max_length = max_length
        self._source = tokenizer

    def __getstate__(self) -> dict[str, Any]:
        return {"_max_length": self._max_length, "_source": self._source}

    def apply(self, dialogue: Dialogue) -> Outcome:
        num_system = _num_leading_system(dialogue.messages)
        system, spoken = dialogue.messages[:num_system], dialogue.messages[num_system:]
        ids = self._tokenizer.encode_many([message.content for message in spoken])
        turns = [Turn(message.role, message.content, of) for message, of in zip(spoken, ids, strict=True)]
        header = [Turn(message.role, message.content) for message in system]
        if self._fits(header, turns):
            return dialogue
        sizes = [len(segment) for segment in self._segments(header, turns)]
        if len(sizes) == 1:
            return dialogue
        return tuple(
            replace(dialogue.with_messages([*system, *messages]), id=f"{dialogue.id}_{number}")
            for number, messages in enumerate(_parted(spoken, sizes))
        )

    def _segments(self, header: Sequence[Turn], turns: Sequence[Turn]) -> Iterator[list[Turn]]:
        """Consecutive turns, as many whole rounds as fit; a round that does not fit is parted between its turns."""
        segment: list[Turn] = []
        for block in _rounds(turns):
            pieces = [block] if self._fits(header, block) else [[turn] for turn in block]
            for piece in pieces:
                if segment and not self._fits(header, [*segment, *piece]):
                    yield segment
                    segment = []
                segment = [*segment, *piece]
        if segment:
            yield segment

    def _fits(self, header: Sequence[Turn], turns: Sequence[Turn]) -> bool:
        tokenizer = self._fixed_pieces
        rows = (compose([*header, *turns], profile, tokenizer) for profile in PROFILES.values())
        return all(len(row.input_ids) <= self._max_length for row in rows)

    @cached_property
    def _tokenizer(self) -> HubTokenizer:
        return load_tokenizer(self._source)

    @cached_property
    def _fixed_pieces(self) -> _FixedPieces:
        return _FixedPieces(self._tokenizer)


class _FixedPieces:
    """A tokenizer that remembers headers and names; contents have their ids already."""

    def __init__(self, tokenizer: HubTokenizer) -> None:
        self.bos_id, self.eos_id = tokenizer.bos_id, tokenizer.eos_id
        self._tokenizer = tokenizer

    def encode(self, text: str) -> list[int]:
        return list(self._tokenizer.encode_fixed(text))

    def decode(self, ids: Sequence[int]) -> str:
        return self._tokenizer.decode(ids)


def _num_leading_system(messages: Sequence[Message]) -> int:
    return next((n for n, message in enumerate(messages) if message.role != SYSTEM), len(messages))


def _rounds(turns: Sequence[Turn]) -> Iterator[list[Turn]]:
    """Each question with all that follows it up to the next one; what stands before the first question first."""
    block: list[Turn] = []
    for turn in turns:
        if block and turn.role == USER:
            yield block
            block = []
        block.append(turn)
    if block:
        yield block


def _parted(messages: Sequence[Message], sizes: Sequence[int]) -> Iterator[Sequence[Message]]:
    begin = 0
    for size in sizes:
        yield messages[begin : begin + size]
        begin += size
