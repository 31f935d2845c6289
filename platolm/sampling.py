"""How a side's utterances are sampled."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

DEFAULT_TEMPERATURE = 0.7
DEFAULT_MAX_TOKENS = 512

PAPERS_SAMPLING: Mapping[str, float | int] = {
    "temperature": DEFAULT_TEMPERATURE,
    "top_p": 1.0,
    "top_k": 0,
    "min_p": 0.0,
    "repetition_penalty": 1.0,
}
"""How the paper's dialogues were made: temperature 0.7, nothing else. A profile's default where it has no other."""


class Sampling(BaseModel):
    """Sampling of one side. What is not said is the profile's: the paper's for most, the model's own for some."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    temperature: float | None = Field(
        None, ge=0, le=2, description=f"0: always the likeliest token; {DEFAULT_TEMPERATURE} for socratic and platolm"
    )
    top_p: float | None = Field(None, gt=0, le=1, description="only the likeliest tokens that have this share together")
    top_k: int | None = Field(None, ge=0, le=1_000_000, description="0: all tokens")
    min_p: float | None = Field(None, ge=0, le=1, description="least share of the likeliest token's probability")
    repetition_penalty: float | None = Field(
        None, gt=0, le=10, description="above 1: what was said becomes less likely"
    )
    max_tokens: int = Field(DEFAULT_MAX_TOKENS, ge=1, le=1_000_000, description="new tokens an utterance may take")

    def or_else(self, defaults: Mapping[str, float | int]) -> Sampling:
        """The same, with `defaults` for what is not said."""
        unsaid = {name: value for name, value in defaults.items() if getattr(self, name) is None}
        return self.model_copy(update=unsaid)

    def said(self) -> dict[str, Any]:
        """The fields that are said."""
        return self.model_dump(exclude_none=True)
