"""What was handed on and what was not: counts by split, by reason."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from curation.dialogue import Dialogue
from curation.export.forms import Fitted
from curation.export.split import Split


@dataclass
class SplitCounts:
    """One split. `num_tokens` is over `num_counted` utterances: those whose record says how many they are."""

    file_name: str = ""
    num_conversations: int = 0
    num_rounds: int = 0
    num_utterances: int = 0
    num_tokens: int = 0
    num_counted: int = 0
    size_bytes: int = 0
    endings: Counter[str] = field(default_factory=Counter)

    def add(self, dialogue: Dialogue, fit: Fitted) -> None:
        self.num_conversations += 1
        self.num_rounds += fit.num_rounds
        self.num_utterances += len(fit.spoken)
        if isinstance(ending := dialogue.fields.get("termination_reason"), str) and ending:
            self.endings[ending] += 1
        turns = dialogue.fields.get("turns")
        for turn in turns[: len(fit.spoken)] if isinstance(turns, list) else []:
            if isinstance(turn, dict) and isinstance(turn.get("num_tokens"), int):
                self.num_tokens += turn["num_tokens"]
                self.num_counted += 1


@dataclass
class ExportReport:
    """The account of an export; `first` is where each reason to leave one out was met first."""

    num_read: int = 0
    num_cut: int = 0
    left_out: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)
    splits: dict[Split, SplitCounts] = field(default_factory=dict)

    def leave_out(self, reason: str, origin: str) -> None:
        self.left_out[reason] += 1
        self.first.setdefault(reason, origin)

    @property
    def num_written(self) -> int:
        return sum(counts.num_conversations for counts in self.splits.values())

    def lines(self) -> list[str]:
        """For people: one line for all, one for each split and reason."""
        lines = [f"{self.num_read:,} conversations read, {self.num_written:,} written"]
        for split, counts in self.splits.items():
            lines.append(f"  {split}: {counts.num_conversations:,} in {counts.file_name} ({counts.size_bytes:,} bytes)")
        for reason, count in self.left_out.most_common():
            lines.append(f"  {count:,} × left out: {reason} (first: {self.first[reason]})")
        if self.num_cut:
            lines.append(f"  {self.num_cut:,} × a last question without an answer cut (--keep-irregular keeps it)")
        return lines
