"""A bare client: a run's own requests to the same engines, and nothing else.

Nothing is recorded, decided, tokenised or retried. Requests are the worker's, byte for byte but for the length, which
is forced: bodies are made before the clock starts, over aiohttp on uvloop as in the worker.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import aiohttp
import orjson

from benchmarks.recorded import RecordedRequest
from platolm.engine_client import KEEPALIVE_S
from platolm.errors import SpeakerError
from platolm.sampling import Sampling

_TIMEOUT_S = 3600.0
_JSON = {"Content-Type": "application/json"}

Prepared = tuple[str, bytes]
"""Address and body of a request."""


@dataclass(frozen=True)
class Replayed:
    """What the bare client reached; generated tokens as the engines' answers count them."""

    seconds: float
    generated_tokens: int


def body_of(request: RecordedRequest, model: str, sampling: Sampling) -> dict[str, Any]:
    """The worker's request, with the recorded length forced."""
    return {
        "model": model,
        "prompt": request.prompt,
        "max_tokens": request.num_output_tokens,
        "ignore_eos": True,
        "seed": request.sampling_seed,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "return_token_ids": True,
    }


def prepare(
    conversations: Iterable[Sequence[RecordedRequest]],
    urls: Mapping[str, str],
    models: Mapping[str, str],
    sampling: Sampling,
) -> list[list[Prepared]]:
    """Conversations in their order, each with its requests in theirs; `urls` and `models` by role."""
    return [
        [
            (f"{urls[one.role]}/completions", orjson.dumps(body_of(one, models[one.role], sampling)))
            for one in conversation
        ]
        for conversation in conversations
    ]


async def replay(conversations: Sequence[Sequence[Prepared]], in_flight: int) -> Replayed:
    """Send all requests: `in_flight` conversations at a time, taken in order, each one's requests one by one.

    Raises:
        SpeakerError: an engine refused, or did not answer.
    """
    left = iter(conversations)
    connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S)
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, headers=_JSON) as session:
        started = time.monotonic()
        slots = (_converse(session, left) for _ in range(min(in_flight, len(conversations))))
        tokens = sum(await asyncio.gather(*slots))
        return Replayed(time.monotonic() - started, tokens)


async def _converse(session: aiohttp.ClientSession, left: Iterable[Sequence[Prepared]]) -> int:
    """One slot: conversation after conversation, until none is left; gives the tokens generated."""
    tokens = 0
    for conversation in left:
        for url, body in conversation:
            tokens += await _ask(session, url, body)
    return tokens


async def _ask(session: aiohttp.ClientSession, url: str, body: bytes) -> int:
    async with session.post(url, data=body) as response:
        content = await response.read()
        if response.status != 200:
            raise SpeakerError(f"{url} answered {response.status}: {content[:300]!r}", status=response.status)
    return int(orjson.loads(content)["usage"]["completion_tokens"])
