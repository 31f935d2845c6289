"""What tokens cost: a table that the user writes, and the cost of a request's tokens by it."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field

from platolm.chat_apis.operator_files import read_model

NANOS = 10**9
"""Costs are whole numbers, of billionths of the currency of the prices: sums of them are exact."""
_MILLION = 10**6


@dataclass(frozen=True)
class Usage:
    """Tokens of one request; `cached` are those of the prompt that the API had in its cache.

    `is_estimate`: the API did not say.
    """

    prompt: int
    generated: int
    cached: int = 0
    is_estimate: bool = False


class Prices(BaseModel):
    """Of a million tokens, in any one currency."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    input: float = Field(ge=0, allow_inf_nan=False, description="a million prompt tokens")
    cached_input: float | None = Field(
        None, ge=0, allow_inf_nan=False, description="a million prompt tokens from the API's cache; default: as others"
    )
    output: float = Field(ge=0, allow_inf_nan=False, description="a million generated tokens, thoughts included")

    def cost(self, usage: Usage) -> int:
        """Billionths, rounded up."""
        cached_price = self.input if self.cached_input is None else self.cached_input
        cached = min(usage.cached, usage.prompt)
        millions = (
            (usage.prompt - cached) * _exact(self.input)
            + cached * _exact(cached_price)
            + usage.generated * _exact(self.output)
        )
        return _up(millions * NANOS / _MILLION)


FREE = Prices(input=0, output=0)


class PriceTable(BaseModel):
    """Prices by the name of a model, as requests give it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    models: Mapping[str, Prices] = {}


def read_prices(path: str | Path) -> PriceTable:
    """A price table from YAML or JSON: `models:`, and under each name `input`, `cached_input` and `output`.

    Raises:
        SpecError: it cannot be read, or is none; carries everything that is wrong, with its line.
    """
    return read_model(path, PriceTable)


def prices_of(model: str, url: str, own: Prices | None, table: PriceTable) -> Prices | None:
    """An endpoint's own prices, else the table's, else nothing for one that is local; None: not known."""
    known = own or table.models.get(model)
    return known or (FREE if is_local(url) else None)


def is_local(url: str) -> bool:
    """Whether an address is of this machine, or of its own network: a private address, or a name without a domain."""
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return bool(host) and ("." not in host or host.endswith((".local", ".internal", ".localhost")))


def nanos_of(amount: float) -> int:
    """An amount of the currency in billionths, as it is written; what is less than one is left out."""
    return int(_exact(amount) * NANOS)


def money(nanos: int) -> str:
    """A cost as people read it: two digits after the point, or as many as a small one needs."""
    value = nanos / NANOS
    return f"{value:.2f}" if nanos == 0 or value >= 1 else f"{value:.2g}" if value < 0.01 else f"{value:.4f}"


def _exact(price: float) -> Fraction:
    """As it is written: 0.15 is not the nearest binary number."""
    return Fraction(str(price))


def _up(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)
