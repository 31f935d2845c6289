"""The account of the data: what was read, used and left out, and what became of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

MAX_EXAMPLES = 3


class SkipReason(StrEnum):
    """Why a record gives no row."""

    NOT_JSON = "not JSON"
    NOT_A_CONVERSATION = "not a conversation"
    NOTHING_TO_LEARN = "no turn of the learned side"
    EMPTY_TURN = "nothing to learn before an empty turn"
    LONG_TURN = "nothing to learn before a turn over its limit"
    LONG_HEADER = "header and system messages fill a row"


class Example(BaseModel):
    """A skipped record; `line` counts from 1, in a JSON list it is the element."""

    file: str
    line: int
    detail: str


class Skipped(BaseModel):
    num: int = 0
    examples: list[Example] = Field(default_factory=list, description="the first three")

    def add(self, other: Skipped) -> None:
        self.num += other.num
        self.examples = [*self.examples, *other.examples][:MAX_EXAMPLES]


class RowCounts(BaseModel):
    """One split. All but `num_conversations` counts a conversation as often as it is written down."""

    num_conversations: int = 0
    num_rows: int = 0
    num_tokens: int = 0
    num_labels: int = 0
    num_all_masked: int = Field(0, description="rows without any label, dropped")
    num_split: int = Field(0, description="conversations in more than one row")
    num_segments: int = Field(0, description="rows that those became")
    num_cut_turns: int = Field(0, description="learned turns whose end did not fit into a row")
    num_lost_turns: int = Field(0, description="learned turns after the cut, where long conversations are not split")
    num_shortened_turns: int = Field(0, description="context turns of which only the end, or nothing, was kept")
    num_tail_tokens: int = Field(0, description="cut off after the last label: they carry no gradient")

    def add(self, other: RowCounts) -> None:
        for name in RowCounts.model_fields:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class DataReport(BaseModel):
    """What became of the data."""

    num_read: int = 0
    num_ended_early: int = Field(0, description="conversations used up to an empty or an over-long turn")
    skipped: dict[SkipReason, Skipped] = Field(default_factory=dict)
    train: RowCounts = Field(default_factory=RowCounts)
    held_out: RowCounts = Field(default_factory=RowCounts)

    @property
    def num_used(self) -> int:
        return self.train.num_conversations + self.held_out.num_conversations

    @property
    def num_skipped(self) -> int:
        return sum(skipped.num for skipped in self.skipped.values())

    def skip(self, reason: SkipReason, example: Example) -> None:
        """Count a record that gives no row."""
        self._add_skipped(reason, Skipped(num=1, examples=[example]))

    def add(self, other: DataReport) -> None:
        """Add the account of later records."""
        self.num_read += other.num_read
        self.num_ended_early += other.num_ended_early
        for reason, skipped in other.skipped.items():
            self._add_skipped(reason, skipped)
        self.train.add(other.train)
        self.held_out.add(other.held_out)

    def as_json(self) -> dict[str, Any]:
        totals = {"num_used": self.num_used, "num_skipped": self.num_skipped}
        return {**self.model_dump(mode="json"), **totals}

    def lines(self) -> list[str]:
        """The account for people, a few lines."""
        lines = [f"{self.num_read:,} conversations read, {self.num_used:,} used, {self.num_skipped:,} skipped"]
        lines += [f"  {skip_line(reason, skipped)}" for reason, skipped in self.skipped.items()]
        if self.num_ended_early:
            lines.append(f"  {self.num_ended_early:,} used only up to an empty or an over-long turn")
        lines += _row_lines("training", self.train)
        lines += _row_lines("held out", self.held_out)
        return lines

    def _add_skipped(self, reason: SkipReason, skipped: Skipped) -> None:
        self.skipped.setdefault(reason, Skipped()).add(skipped)


def skip_line(reason: SkipReason, skipped: Skipped) -> str:
    """One reason with its count and first example."""
    first = skipped.examples[0]
    return f"{skipped.num:,} × {reason} ({first.file}:{first.line}: {first.detail})"


def _row_lines(title: str, counts: RowCounts) -> list[str]:
    share = counts.num_labels / counts.num_tokens if counts.num_tokens else 0
    lines = [
        f"{title}: {counts.num_conversations:,} conversations, {counts.num_rows:,} rows, "
        f"{counts.num_tokens:,} tokens, {share:.0%} of them labelled"
    ]
    noted = [
        (counts.num_split, f"{counts.num_split:,} long conversations split into {counts.num_segments:,} rows"),
        (counts.num_cut_turns, f"{counts.num_cut_turns:,} learned turns cut"),
        (counts.num_lost_turns, f"{counts.num_lost_turns:,} learned turns lost after the cut"),
        (counts.num_shortened_turns, f"{counts.num_shortened_turns:,} context turns shortened"),
        (counts.num_all_masked, f"{counts.num_all_masked:,} rows without labels dropped"),
        (counts.num_tail_tokens, f"{counts.num_tail_tokens:,} tokens after the last label cut off"),
    ]
    said = "; ".join(text for num, text in noted if num)
    return [*lines, f"  {said}"] if said else lines
