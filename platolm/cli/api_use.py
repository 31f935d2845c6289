"""What a side has used of chat APIs, in a line."""

from __future__ import annotations

from platolm.chat_apis.prices import money, nanos_of
from platolm.chat_apis.use import ApiUse


def use_line(use: ApiUse) -> str:
    """`120 requests (3 failed, 1 throttled), 9,876 tokens in (1,000 cached) and 432 out, cost 1.23`."""
    failed = f" ({use.failed:,} failed, {use.throttled:,} of them throttled)" if use.failed else ""
    cached = f" ({use.cached_tokens:,} cached)" if use.cached_tokens else ""
    unpriced = f" and {use.unpriced:,} answers of no known price" if use.unpriced else ""
    tokens = f"{use.prompt_tokens:,} tokens in{cached} and {use.generated_tokens:,} out"
    return f"{use.requests:,} requests{failed}, {tokens}, cost {money(nanos_of(use.cost))}{unpriced}"
