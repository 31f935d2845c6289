"""What is in a segment without opening it: endings, rounds, lengths and the user's realism, counted when it is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from platolm.bins import Counts as Counts
from platolm.bins import upper_bound as upper_bound
from platolm.conversation import USER, from_sharegpt
from platolm.endings import FinishReason
from platolm.errors import ConversationError
from platolm.realism import Realism
from platolm.seed_modes import given_positions
from platolm.segments import Record


class SegmentSummary(BaseModel):
    """Counts over a segment's records; those of several segments can be added up.

    Lengths are in tokens of the speaker's tokenizer, in bins named by their upper bounds, powers of two: 16 counts the
    utterances of 9 to 16 tokens, 1 those of none or one.
    """

    model_config = ConfigDict(extra="ignore")

    endings: dict[str, int] = Field(default_factory=dict, description="conversations by why they ended")
    rounds: Counts = Field(default_factory=dict, description="conversations by their number of rounds")
    user_tokens: Counts = Field(default_factory=dict, description="the user's utterances by length")
    assistant_tokens: Counts = Field(default_factory=dict, description="the assistant's utterances by length")
    tokens: int = Field(0, description="of all utterances but given ones")
    faults: dict[str, int] = Field(
        default_factory=dict, description="what guardrails found, in all tries at utterances"
    )
    realism: Realism | None = Field(None, description="measures of the user; null in entries of before there were any")

    @classmethod
    def of(cls, records: Iterable[Record]) -> SegmentSummary:
        """The counts of these records.

        Raises:
            KeyError, TypeError: a record lacks what is counted, or has something else in its place.
        """
        endings: Counter[str] = Counter()
        faults: Counter[str] = Counter()
        rounds: Counter[int] = Counter()
        lengths: dict[bool, Counter[int]] = {True: Counter(), False: Counter()}
        realism, tokens = Realism(), 0
        for record in records:
            endings[record["termination_reason"]] += 1
            rounds[record["num_rounds"]] += 1
            for turn in record["turns"]:
                num_tokens = turn["num_tokens"]
                lengths[turn["role"] == USER][upper_bound(num_tokens)] += 1
                tokens += num_tokens if turn["finish_reason"] != FinishReason.SEED else 0
                faults.update(turn.get("faults") or ())
            _measure(realism, record)
        return cls(
            endings=endings,
            rounds=rounds,
            user_tokens=lengths[True],
            assistant_tokens=lengths[False],
            tokens=tokens,
            faults=faults,
            realism=realism,
        )

    @property
    def num_records(self) -> int:
        return sum(self.rounds.values())

    def add(self, other: SegmentSummary) -> None:
        """Count another segment's records too; one without measures leaves those as they are."""
        for name in ("endings", "rounds", "user_tokens", "assistant_tokens", "faults"):
            mine = getattr(self, name)
            for key, count in getattr(other, name).items():
                mine[key] = mine.get(key, 0) + count
        self.tokens += other.tokens
        if other.realism is not None:
            self.realism = self.realism or Realism()
            self.realism.merge(other.realism)


def _measure(realism: Realism, record: Record) -> None:
    try:
        realism.add(from_sharegpt(record).messages, given_positions(record))
    except ConversationError as error:
        raise TypeError(str(error)) from error
