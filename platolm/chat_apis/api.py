"""A chat API that is open: requests through the openai SDK, at the pace that it bears."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import httpx2
import openai
import orjson
from openai import AsyncAzureOpenAI, AsyncOpenAI
from pydantic import SecretStr

from platolm.chat_apis.answers import ChatAnswer, StreamedAnswer, answer_of
from platolm.chat_apis.endpoints import ChatEndpoint
from platolm.chat_apis.failures import Failure, Fate, failure_of
from platolm.chat_apis.pace import Reservation
from platolm.chat_apis.pacing import Pacer
from platolm.chat_apis.prices import Prices, Usage
from platolm.chat_apis.rate_headers import heard_limits
from platolm.engine_client import KEEPALIVE_S

CONNECT_S = 10.0

Show = Callable[[str], None]
"""Called with all that was said so far."""

_FAILURES = (openai.APIError, httpx2.HTTPError, json.JSONDecodeError, UnicodeDecodeError)
"""What comes of an API that cannot be reached, refuses, or answers with something else."""
_UNUSED_EXTENSIONS = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
"""Fields that not every API knows; said where they are used."""


@dataclass(frozen=True)
class ChatRequest:
    """What one side is asked with; `sampling` has fields of `Sampling`, `prompt_tokens` is an estimate."""

    messages: list[dict[str, str]]
    sampling: Mapping[str, Any]
    max_tokens: int
    prompt_tokens: int
    seed: int


class Bill:
    """What one request costs: nothing before it is sent, the most from then on, and the truth once that is known."""

    def __init__(self, prices: Prices | None, most: Usage) -> None:
        self._prices = prices
        self._most = most
        self._usage = Usage(0, 0)
        self.was_sent = False

    @property
    def most_nanos(self) -> int | None:
        return self._cost(self._most)

    @property
    def nanos(self) -> int | None:
        """None where the prices are not known."""
        return self._cost(self._usage)

    def sent(self) -> None:
        self.was_sent = True
        self._usage = self._most

    def refused(self) -> None:
        self._usage = Usage(0, 0)

    def answered(self, usage: Usage) -> None:
        self._usage = usage

    def _cost(self, usage: Usage) -> int | None:
        return None if self._prices is None else self._prices.cost(usage)


class ChatApi:
    """One endpoint, for all conversations of a process. `name` is what runs call it."""

    def __init__(
        self,
        name: str,
        endpoint: ChatEndpoint,
        key: SecretStr,
        pacer: Pacer,
        prices: Prices | None,
        *,
        http_client: httpx2.AsyncClient | None = None,
    ) -> None:
        self.name = name
        self.endpoint = endpoint
        self.prices = prices
        self._key = key
        self._pacer = pacer
        self._client = _client(endpoint, key.get_secret_value(), http_client)
        self._in_flight = asyncio.Semaphore(endpoint.limits.in_flight)

    def bill(self, request: ChatRequest) -> Bill:
        """What a request may cost at most."""
        return Bill(self.prices, Usage(request.prompt_tokens, request.max_tokens))

    async def ask(self, request: ChatRequest, bill: Bill, show: Show | None = None) -> ChatAnswer:
        """Send a request when its turn comes. With `show` the answer is streamed.

        Raises:
            MisconfiguredError: the key, the model or the path is refused, or the account has nothing left.
            ContextFullError: the API finds the prompt too long.
            SpeakerError: retryable for lost connections, silence, answers that cannot be read, 408, 409, 429 and 5xx.
        """
        async with self._in_flight:
            reservation = await self._pacer.take(request.prompt_tokens + request.max_tokens)
            bill.sent()
            started = time.monotonic()
            try:
                answer = await self._send(request, reservation, show)
                return replace(answer, duration_s=time.monotonic() - started)
            except _FAILURES as error:
                failure = failure_of(error, self.name, self._key.get_secret_value())
                if failure.fate is not Fate.UNKNOWN:
                    bill.refused()
                await self._tell_pacer(failure, reservation)
                raise failure.error from error

    async def check(self) -> None:
        """Ask for the list of models, so that a wrong key or address is known before a run.

        Raises:
            SpeakerError: as `ask`.
        """
        try:
            await self._client.models.list()
        except _FAILURES as error:
            raise failure_of(error, self.name, self._key.get_secret_value()).error from error

    async def close(self) -> None:
        await self._client.close()

    async def _send(self, request: ChatRequest, reservation: Reservation, show: Show | None) -> ChatAnswer:
        fields = self._fields(request)
        if show is None:
            raw = await self._client.chat.completions.with_raw_response.create(**fields)
            headers, answer = raw.headers, answer_of(orjson.loads(raw.http_response.content), self.name)
        else:
            headers, answer = await self._streamed(fields, show)
        await self._pacer.heard(heard_limits(headers))
        if answer.usage is not None:
            await self._pacer.settle(reservation, answer.usage.prompt + answer.usage.generated)
        return answer

    async def _streamed(self, fields: dict[str, Any], show: Show) -> tuple[Mapping[str, str], ChatAnswer]:
        if "stream_options" not in self.endpoint.omit:
            fields = {**fields, "stream_options": {"include_usage": True}}
        raw = await self._client.chat.completions.with_raw_response.create(stream=True, **fields)
        if raw.headers.get("content-type", "").startswith("application/json"):  # it does not stream
            return raw.headers, answer_of(orjson.loads(await raw.http_response.aread()), self.name)
        so_far = StreamedAnswer(self.name)
        async with raw.parse() as stream:
            async for chunk in stream:
                if so_far.feed(chunk.to_dict(mode="json")):
                    show(so_far.content)
        return raw.headers, so_far.whole()

    async def _tell_pacer(self, failure: Failure, reservation: Reservation) -> None:
        if failure.fate is Fate.NEVER_SENT:
            await self._pacer.release(reservation)
        if failure.fate is Fate.REFUSED:
            await self._pacer.heard(heard_limits(failure.headers))
        if failure.error.status == 429:
            await self._pacer.throttled(reservation, failure.pause_s)

    def _fields(self, request: ChatRequest) -> dict[str, Any]:
        endpoint, sampling = self.endpoint, request.sampling
        known = {name: sampling[name] for name in ("temperature", "top_p") if name in sampling} | {"seed": request.seed}
        used = {name: sampling[name] for name, off in _UNUSED_EXTENSIONS.items() if sampling.get(name, off) != off}
        return {
            **{name: value for name, value in known.items() if name not in endpoint.omit},
            "model": endpoint.model,
            "messages": request.messages,
            endpoint.max_tokens_field: request.max_tokens,
            "extra_body": {**used, **endpoint.extra_body},
        }


def _client(endpoint: ChatEndpoint, key: str, http_client: httpx2.AsyncClient | None) -> AsyncOpenAI:
    """Retries are the caller's; no redirect is followed, since a key would go with it."""
    timeout = httpx2.Timeout(endpoint.timeout_s, connect=CONNECT_S)
    http_client = http_client or _http_client(endpoint, timeout)
    if endpoint.api_version is None:
        return AsyncOpenAI(base_url=endpoint.url, api_key=key, timeout=timeout, max_retries=0, http_client=http_client)
    return AsyncAzureOpenAI(
        azure_endpoint=endpoint.url,
        azure_deployment=endpoint.model,
        api_version=endpoint.api_version,
        api_key=key,
        timeout=timeout,
        max_retries=0,
        http_client=http_client,
    )


def _http_client(endpoint: ChatEndpoint, timeout: httpx2.Timeout) -> httpx2.AsyncClient:
    limits = httpx2.Limits(max_connections=endpoint.limits.in_flight, keepalive_expiry=KEEPALIVE_S)
    return openai.DefaultAioHttpClient(timeout=timeout, limits=limits, follow_redirects=False)
