"""A dialogue becomes rows of ids and labels under one side's header."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np

from platolm.conversation import USER
from platolm.dyadic import IGNORE_INDEX, PROFILES, Composed, DyadicProfile, Turn, compose, cut_after_last_label
from platolm.tokenizer import TextTokenizer
from training.data.dialogues import Dialogue
from training.data.report import RowCounts
from training.data.row_files import Row
from training.data.segments import Frame, Segment, cut_at_limit, frame_of, segments_of
from training.recipes.recipe import Data, Side

_REMEMBERED_TEXTS = 4096


def profiles_of(side: Side) -> tuple[DyadicProfile, ...]:
    """The side's header; for `Side.BOTH` the two in turn. What is learned is the target roles of all of them."""
    return tuple(PROFILES.values()) if side is Side.BOTH else (PROFILES[side],)


class Composer:
    """Makes the rows of encoded dialogues, as one side learns them."""

    def __init__(self, data: Data, side: Side, tokenizer: TextTokenizer) -> None:
        self.profiles = profiles_of(side)
        self.targets = frozenset(profile.target_role for profile in self.profiles)
        self._data = data
        self._frame_texts = _FrameTexts(tokenizer)
        self._frame_of = lru_cache(_REMEMBERED_TEXTS)(self._measured_frame)

    def has_room(self, dialogue: Dialogue) -> bool:
        """Whether header and system messages leave a row any room for what is to be learned."""
        frames = (self._frame(dialogue, profile) for profile in self.profiles)
        return all(frame.holds(self.targets, self._data.max_length) for frame in frames)

    def join_frame(self, dialogues: Iterable[Dialogue]) -> Frame:
        """The frame for joining these dialogues, under whichever of the headers leaves less room."""
        roles = frozenset({USER, *(turn.role for dialogue in dialogues for turn in dialogue.spoken)})
        frames = (self._frame_of(roles, profile, ()) for profile in self.profiles)
        return max(frames, key=lambda frame: frame.openings[USER])

    def rows(self, dialogues: Iterable[Dialogue], counts: RowCounts) -> Iterator[Row]:
        """Rows cut after their last label, and counted; headers alternate by dialogue where there are two."""
        for position, dialogue in enumerate(dialogues):
            yield from self._rows_of(dialogue, self.profiles[position % len(self.profiles)], counts)

    def _rows_of(self, dialogue: Dialogue, profile: DyadicProfile, counts: RowCounts) -> Iterator[Row]:
        segments = self._segments(dialogue, profile)
        if len(segments) > 1:
            counts.num_split += 1
            counts.num_segments += len(segments)
        for segment in segments:
            whole = self._composed([*dialogue.system, *segment.turns], profile)
            composed = cut_after_last_label(whole)
            _count(counts, segment, composed, num_tail=len(whole.labels) - len(composed.labels))
            if composed.input_ids:
                yield _row(composed, segment.first_turn)

    def _segments(self, dialogue: Dialogue, profile: DyadicProfile) -> Sequence[Segment]:
        frame, max_length = self._frame(dialogue, profile), self._data.max_length
        if self._data.split_long:
            return list(segments_of(dialogue.spoken, self.targets, frame, max_length))
        return [cut_at_limit(dialogue.spoken, self.targets, frame, max_length)]

    def _composed(self, turns: Sequence[Turn], profile: DyadicProfile) -> Composed:
        """With the labels of every learned role."""
        first, *others = (
            compose(
                turns,
                replace(profile, target_role=role),
                self._frame_texts,
                max_length=self._data.max_length,
                bos_in_loss=self._data.bos_in_loss,
            )
            for role in sorted(self.targets)
        )
        labels = first.labels
        for other in others:
            labels = [b if a == IGNORE_INDEX else a for a, b in zip(labels, other.labels, strict=True)]
        return Composed(first.input_ids, labels)

    def _frame(self, dialogue: Dialogue, profile: DyadicProfile) -> Frame:
        return self._frame_of(frozenset(turn.role for turn in dialogue.spoken), profile, tuple(dialogue.system))

    def _measured_frame(self, roles: frozenset[str], profile: DyadicProfile, system: tuple[Turn, ...]) -> Frame:
        return frame_of(roles, profile, self._frame_texts, system)


class _FrameTexts:
    """A tokenizer for headers and names, which come again and again; contents have their ids already."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.bos_id, self.eos_id = tokenizer.bos_id, tokenizer.eos_id
        self.encode = lru_cache(_REMEMBERED_TEXTS)(tokenizer.encode)
        self.decode = tokenizer.decode


def _count(counts: RowCounts, segment: Segment, composed: Composed, *, num_tail: int) -> None:
    counts.num_cut_turns += segment.num_cut
    counts.num_lost_turns += segment.num_lost
    counts.num_shortened_turns += segment.num_shortened
    counts.num_rows += bool(composed.input_ids)
    counts.num_all_masked += not composed.input_ids
    counts.num_tokens += len(composed.input_ids)
    counts.num_tail_tokens += num_tail if composed.input_ids else 0


def _row(composed: Composed, first_turn: int) -> Row:
    return Row(np.array(composed.input_ids, dtype=np.int32), np.array(composed.labels, dtype=np.int32), first_turn)
