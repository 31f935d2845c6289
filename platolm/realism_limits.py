"""How much a run's user must sound like a person: the bounds in its spec, and what happens beyond them."""

from __future__ import annotations

from enum import StrEnum
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class OutOfBounds(StrEnum):
    """What is done when a figure leaves its bounds."""

    WARN = "warn"
    """The run's progress says so, and the run goes on."""
    PAUSE = "pause"
    """It pauses too, until somebody resumes it."""
    CANCEL = "cancel"
    """It is given up; what is finished stays in its dataset."""


class _Group(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Bounds(_Group):
    """Between what a figure may be; null: anything on that side."""

    at_least: float | None = Field(None, ge=0, le=1e9)
    at_most: float | None = Field(None, ge=0, le=1e9)

    @model_validator(mode="after")
    def _least_below_most(self) -> Self:
        if self.at_least is not None and self.at_most is not None and self.at_least > self.at_most:
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}")
        return self


class ShareBounds(Bounds):
    """Between what a share may be; null: anything on that side."""

    at_least: float | None = Field(None, ge=0, le=1)
    at_most: float | None = Field(None, ge=0, le=1)


class RealismLimits(_Group):
    """Bounds of figures that tell how much the user sounds like a person, over the dataset so far.

    A figure's bounds are {at_least: NUMBER, at_most: NUMBER}, or one of the two; null: it has none. One that leaves
    them is acted on once, and again only after it was within them.
    """

    rounds: Bounds | None = Field(None, description="rounds a conversation")
    user_words: Bounds | None = Field(None, description="words an utterance of the user")
    assistant_words: Bounds | None = Field(None, description="words an utterance of the assistant")
    mtld: Bounds | None = Field(None, description="lexical diversity (MTLD) of an utterance of the user")
    repeats: ShareBounds | None = Field(
        None, description="share of the user's utterances that say again what the user said before, 0 to 1"
    )
    role_slips: ShareBounds | None = Field(
        None, description="share of the user's utterances that speak as the assistant, 0 to 1"
    )
    distinct_openings: ShareBounds | None = Field(
        None, description="how many distinct openings there are, as a share of the conversations, 0 to 1"
    )
    after: int = Field(200, ge=1, le=10**9, description="nothing is judged before so many conversations")
    then: OutOfBounds = Field(
        OutOfBounds.WARN, description="what is done when a figure leaves its bounds; a warning stands in any case"
    )

    @property
    def bounds(self) -> dict[str, Bounds]:
        """The bounds that are set, by figure."""
        return {name: value for name in type(self).model_fields if isinstance(value := getattr(self, name), Bounds)}
