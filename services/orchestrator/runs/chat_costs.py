"""Chat APIs as a run that is to start names them: whether the operator has them, and what they are likely to cost."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from platolm.chat_apis.endpoints import read_endpoints
from platolm.chat_apis.estimate import dearest, estimate_cost
from platolm.chat_apis.prices import NANOS, Prices, PriceTable, prices_of, read_prices
from platolm.chat_apis.use import EstimatedCost
from platolm.conversation import ASSISTANT, USER
from platolm.spec import RunSpec, Seed
from services.orchestrator.engines.sides import SIDE_NAMES
from services.orchestrator.web.problems import Problem

_FILE = "PLATOLM_API_CHAT_APIS_FILE"

ChatPrices = Mapping[str, Prices | None]
"""Every chat API that a run may name, with its price; None: it is not known."""


def read_chat_prices(apis_file: Path | None, prices_file: Path | None) -> ChatPrices:
    """What the operator's files say; no file, no API.

    Raises:
        SpecError: a file cannot be read, or is wrong.
    """
    table = read_prices(prices_file) if prices_file is not None else PriceTable()
    endpoints = read_endpoints(apis_file).apis if apis_file is not None else {}
    return {name: prices_of(one.model, one.url, one.prices, table) for name, one in endpoints.items()}


def refused_apis(spec: RunSpec, prices: ChatPrices) -> Iterator[Problem]:
    """APIs that the operator does not have, or whose price has to be known and is not."""
    known = f"there are {', '.join(prices)}" if prices else "there is none"
    for role, name in SIDE_NAMES.items():
        for api in spec.side(role).apis:
            loc: list[str | int] = ["body", "spec", name, "apis", api]
            if api not in prices:
                yield Problem(loc=loc, msg=f"is no chat API that the operator allows ({_FILE}); {known}")
            elif prices[api] is None and spec.limits.budget is not None:
                yield Problem(loc=loc, msg="has no known price, and the run has a budget: add it to the price table")


def estimated(spec: RunSpec, seeds: Sequence[Seed], prices: ChatPrices) -> EstimatedCost | None:
    """What the run's chat APIs are likely to cost; of several on a side, as if all were the dearest of them.

    None where it asks none, or a price is not known.
    """
    by_role = {
        role: dearest([prices[api] for api in apis]) for role in (USER, ASSISTANT) if (apis := spec.side(role).apis)
    }
    if not by_role or None in by_role.values():
        return None
    estimate = estimate_cost(spec, seeds, by_role)
    return EstimatedCost(
        low=estimate.low_nanos / NANOS,
        likely=estimate.likely_nanos / NANOS,
        high=estimate.high_nanos / NANOS,
        assumptions=list(estimate.assumptions),
    )


def budget_warnings(spec: RunSpec, cost: EstimatedCost | None) -> list[str]:
    """What a person should know of a budget that is likely to be too small."""
    budget = spec.limits.budget
    if budget is None or cost is None or cost.likely <= budget:
        return []
    return [f"the run is likely to cost {cost.told()}, more than its budget of {budget:g}: it will pause there"]
