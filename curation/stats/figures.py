"""What a dataset's statistics are, as one typed result."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import BaseModel, Field

from curation.stats.goodbyes import ThresholdRow
from curation.stats.intervals import Estimate, Floats, ResampledSums
from platolm.realism import Realism
from platolm.segment_summary import Counts

LENGTH_CAP = 4096
"""Longer user turns are counted at this many words in `user_lengths`."""


class Figure(BaseModel):
    """One measure: its estimate, or why there is none."""

    estimate: Estimate | None = None
    count: int = Field(0, description="conversations, questions or turns that it is over")
    lacking: str | None = Field(None, description="why it was not measured, and what to do")
    sampled: bool = Field(False, description="whether it is over the sample instead of the whole dataset")

    @property
    def value(self) -> float | None:
        return self.estimate.value if self.estimate else None

    @property
    def low(self) -> float | None:
        return self.estimate.low if self.estimate else None

    @property
    def high(self) -> float | None:
        return self.estimate.high if self.estimate else None


class Cost(BaseModel):
    """What asking a judge took; `amount` in the prices' currency, None where no prices were given."""

    requests: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    amount: float | None = None


class Distance(BaseModel):
    """How far a dataset's user turns are from another's in length, by words."""

    other: str = Field(description="the other dataset's name")
    kolmogorov_smirnov: Estimate | None = Field(description="largest gap between the two cumulative shares, 0 to 1")
    mean_ratio: Estimate | None = Field(description="mean length over the other's mean length")


class Statistics(BaseModel):
    """Everything that was measured of one dataset."""

    name: str
    paths: list[str]
    conversations: int
    unreadable: dict[str, int] = Field(default_factory=dict, description="records left out, by reason")
    seed: int = Field(description="of the sample and of the resamples")
    sample: int = Field(description="conversations in the sample that measures marked as sampled are over")
    figures: dict[str, Figure] = Field(description="by the measure's key; `curation.stats.measures` names them")
    realism: Realism = Field(description="sums, and lengths in bins")
    user_lengths: Counts = Field(description=f"user turns by their exact number of words, {LENGTH_CAP} and more as one")
    endings: dict[str, int] = Field(default_factory=dict, description="conversations by why they ended, where told")
    goodbye_thresholds: list[ThresholdRow] = Field(
        default_factory=list, description="what endings.goodbye_threshold would have made of continued conversations"
    )
    goodbyes_unknown: int = Field(0, description="places to say goodbye of which no probability was recorded")
    made_by: dict[str, str] = Field(default_factory=dict, description="tokenizer, embeddings, classifier, judge")
    judge_cost: Cost | None = None
    distances: list[Distance] = Field(default_factory=list, description="from each dataset it was put beside")


@dataclass(frozen=True, eq=False)
class Measured:
    """A dataset's statistics with the resamples that comparing it with another takes.

    `lengths` are sums of `curation.stats.lengths.length_rows`, `user_words` is a user turn's mean length, (resamples,).
    """

    statistics: Statistics
    lengths: ResampledSums
    user_words: Floats
