"""What runs tell people of chat APIs: what a side has used of them, and what a run is likely to cost."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field

from platolm.chat_apis.accounting import SideAccount
from platolm.chat_apis.prices import NANOS, money, nanos_of


class ApiUse(BaseModel):
    """What one side of a run has used of chat APIs up to now."""

    model_config = ConfigDict(extra="ignore")

    requests: int = 0
    failed: int = Field(0, description="requests that were not answered")
    throttled: int = Field(0, description="those of them that were refused with 429")
    prompt_tokens: int = 0
    cached_tokens: int = Field(0, description="prompt tokens that the API had in its cache")
    generated_tokens: int = 0
    cost: float = Field(0.0, description="in the currency of the operator's prices")
    unpriced: int = Field(0, description="answers whose price is not known: they are not in the cost")
    estimated: int = Field(0, description="answers that told no usage: their tokens are a guess")
    mean_latency_s: float | None = Field(None, description="from sending a request to its whole answer")
    latency_50_s: float | None = Field(None, description="half of the answers came within so many seconds")
    latency_95_s: float | None = None

    @classmethod
    def of(cls, account: SideAccount) -> Self:
        """An account as people read it."""
        num_answers = account.num_requests - account.num_failed
        return cls(
            requests=account.num_requests,
            failed=account.num_failed,
            throttled=account.num_throttled,
            prompt_tokens=account.prompt_tokens,
            cached_tokens=account.cached_tokens,
            generated_tokens=account.generated_tokens,
            cost=account.cost_nanos / NANOS,
            unpriced=account.num_unpriced,
            estimated=account.num_estimated,
            mean_latency_s=round(account.latency_sum_s / num_answers, 3) if num_answers else None,
            latency_50_s=account.latency_s(0.5),
            latency_95_s=account.latency_s(0.95),
        )


class EstimatedCost(BaseModel):
    """What a run is likely to cost, before it starts, in the currency of the operator's prices."""

    model_config = ConfigDict(extra="ignore")

    low: float
    likely: float
    high: float
    assumptions: list[str]

    def told(self) -> str:
        """`about 1.20 (0.70 to 2.10)`."""
        low, likely, high = (money(nanos_of(amount)) for amount in (self.low, self.likely, self.high))
        return f"about {likely} ({low} to {high})"

    def explained(self) -> str:
        """The same with what it rests on."""
        return f"{self.told()}, with {'; '.join(self.assumptions)}"
