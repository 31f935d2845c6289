"""Answers of browsing a run's dataset over HTTP; server and clients share them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

from platolm.marks import Mark

DEFAULT_RECORDS = 50
MAX_RECORDS = 200
"""Records of one page."""

MAX_QUERY_CHARS = 200
OPENING_CHARS = 200
"""Of a record's first utterance, in a list."""

_PAIR = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}
Bin = Annotated[tuple[int, int], WithJsonSchema(_PAIR)]
"""A bin and how many are in it; described as tools understand that know no `prefixItems`."""


class MarkFilter(StrEnum):
    """Which marks are wanted."""

    GOOD = "good"
    BAD = "bad"
    ANY = "any"
    """Good or bad."""

    def takes(self, mark: Mark) -> bool:
        """Whether a mark is one of these."""
        return mark.mark is not None and (self is MarkFilter.ANY or mark.mark.value == self.value)


class _Answer(BaseModel):
    """A newer server may say more."""

    model_config = ConfigDict(extra="ignore")


class Snippet(_Answer):
    """Where the searched text stands: the match as it is written there, and what is around it."""

    role: str
    turn_index: int = Field(description="of the utterance, from 0")
    before: str
    match: str
    after: str


class RecordSummary(_Answer):
    """One record of the dataset in a list."""

    id: str
    index: int
    position: int = Field(description="in the order of commitment, from 0")
    termination_reason: str
    num_rounds: int
    num_tokens: int = Field(description="of all its utterances")
    opening: str = Field(description=f"the first utterance, {OPENING_CHARS} characters of it at most")
    snippet: Snippet | None = Field(None, description="the first match, where a text was searched")
    mark: Mark | None = None


class RecordPage(_Answer):
    """`GET /v1/runs/{id}/records`. A request looks for a second: a page may be empty without being the last."""

    records: list[RecordSummary]
    next_cursor: str | None = Field(None, description="asks for what follows; null: that was all")
    searched: int = Field(description="the position that was come to: records before it need no other look")
    total: int = Field(description="records in the dataset")


class Histograms(_Answer):
    """`GET /v1/runs/{id}/histograms`. Bins of lengths are named by their upper bounds, in tokens."""

    conversations: int = Field(description="that are counted here")
    total: int = Field(
        description="records in the dataset; more than `conversations` where old segments are still being counted: "
        "ask again"
    )
    rounds: list[Bin] = Field(description="rounds, conversations")
    user_tokens: list[Bin] = Field(description="length at most, utterances")
    assistant_tokens: list[Bin] = Field(description="length at most, utterances")
    terminations: dict[str, int]
    generated_tokens: int
    faults: dict[str, int] = Field(
        default_factory=dict, description="what guardrails found, in all tries at the dataset's utterances"
    )
