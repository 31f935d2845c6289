"""One chunk of records becomes two files of rows. What is written hangs on the chunk and the settings alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from platolm.opening import is_held_out
from platolm.tokenizer import HubTokenizer
from training.data.arrangement import arranged
from training.data.composing import Composer
from training.data.dialogues import (
    Dialogue,
    TurnLimits,
    UnusableRecordError,
    conversation_of,
    dialogue_of,
    encoded,
    within_limits,
)
from training.data.reading import Chunk, Entry
from training.data.report import DataReport, Example, SkipReason
from training.data.row_files import write_rows
from training.recipes.recipe import Data, Side

_DETAIL_CHARACTERS = 160


class ChunkBuilder:
    """Reads, tokenises, splits, composes and writes."""

    def __init__(self, data: Data, side: Side, tokenizer: HubTokenizer, folder: Path) -> None:
        self._data, self._tokenizer, self._folder = data, tokenizer, folder
        self._turn_limits: TurnLimits = {str(role): limit for role, limit in data.turn_limits.items()}
        self._composer = Composer(data, side, tokenizer)

    def build(self, chunk: Chunk) -> DataReport:
        """Write `train-NUMBER.arrow` and `held_out-NUMBER.arrow`, each where it has rows.

        Raises:
            OSError: the folder cannot be written.
        """
        report = DataReport(num_read=len(chunk.entries))
        train, held_out = self._dialogues(chunk.entries, report)
        written_down = arranged(
            train,
            self._composer.join_frame(train),
            max_length=self._data.max_length,
            join_share=self._data.join_share,
            arrangements=self._data.arrangements,
            seed=f"{self._data.split_salt} {chunk.number}",
        )
        for name, counts, dialogues in (("train", report.train, written_down), ("held_out", report.held_out, held_out)):
            path = self._folder / f"{name}-{chunk.number:05d}.arrow"
            counts.num_labels = write_rows(path, self._composer.rows(dialogues, counts))
        return report

    def _dialogues(self, entries: Sequence[Entry], report: DataReport) -> tuple[list[Dialogue], list[Dialogue]]:
        """The dialogues to train on and the held-out ones; every other entry is counted as skipped."""
        read: list[tuple[Entry, Dialogue, bool]] = []
        for entry in entries:
            with _counting(report, entry):
                read.append((entry, *self._read(entry)))
        train: list[Dialogue] = []
        held_out: list[Dialogue] = []
        all_encoded = encoded([dialogue for _, dialogue, _ in read], self._tokenizer)
        for (entry, _, is_apart), dialogue in zip(read, all_encoded, strict=True):
            with _counting(report, entry):
                usable = self._usable(dialogue)
                report.num_ended_early += usable.ended_early
                (held_out if is_apart else train).append(usable)
        report.train.num_conversations, report.held_out.num_conversations = len(train), len(held_out)
        return train, held_out

    def _read(self, entry: Entry) -> tuple[Dialogue, bool]:
        conversation = conversation_of(entry.record, entry.line)
        dialogue = dialogue_of(entry.record, conversation, self._composer.profiles, self._tokenizer)
        is_apart = is_held_out(conversation, share=self._data.held_out_share, salt=self._data.split_salt)
        return dialogue, is_apart

    def _usable(self, dialogue: Dialogue) -> Dialogue:
        dialogue = within_limits(dialogue, self._composer.targets, self._turn_limits)
        if not self._composer.has_room(dialogue):
            raise UnusableRecordError(SkipReason.LONG_HEADER, f"more than max_length {self._data.max_length:,}")
        return dialogue


@contextmanager
def _counting(report: DataReport, entry: Entry) -> Iterator[None]:
    """Count an unusable record instead of raising."""
    try:
        yield
    except UnusableRecordError as reason:
        detail = str(reason)[:_DETAIL_CHARACTERS]
        report.skip(reason.reason, Example(file=entry.file, line=entry.line, detail=detail))
