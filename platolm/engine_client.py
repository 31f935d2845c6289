"""Asking an engine over HTTP: its completions route, its models, its metrics."""

from __future__ import annotations

import asyncio
import errno
import math
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, cast

import aiohttp
import orjson

from platolm.completions import Completion, StreamedCompletion, completion_of, refusal
from platolm.errors import EngineAwayError, EngineLostError, SpeakerError
from platolm.keepalive import PEER_TIMEOUT_S, keep_watch

KEEPALIVE_S = 3.0
"""Below vLLM's 5 s for idle sockets, so that the client never reuses one that the server is closing."""
BODY_TIMEOUT_S = 30.0
"""An answer that has begun is there at once, since nothing is streamed; one that stalls is given up."""
MAX_BODY_BYTES = 64 * 2**20

_EVENT_STREAM = "text/event-stream"
_NETWORK_GONE = frozenset({errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN})


@dataclass(frozen=True)
class EngineModel:
    """A model as an engine describes it; `root` is the folder or hub name it was loaded from.

    An adapter that shares its engine has its base's `root`, where the tokenizer is, and its base's length.
    """

    id: str
    root: str
    max_model_len: int


def _models_in(answer: dict[str, Any]) -> list[EngineModel]:
    """The models of a `/models` answer. vLLM gives an adapter's own folder as its root, and no length (0.32)."""
    by_id = {card["id"]: card for card in answer["data"]}
    bases = [by_id.get(card.get("parent"), card) for card in by_id.values()]
    return [
        EngineModel(name, base.get("root") or base["id"], int(base["max_model_len"]))
        for name, base in zip(by_id, bases, strict=True)
    ]


class RequestBody:
    """A request in JSON, let go of as soon as it is on its way: an answer takes seconds, and thousands wait for one."""

    __slots__ = ("_content", "size_bytes")

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.size_bytes = len(content)

    def take(self) -> bytes:
        """The bytes, once."""
        content, self._content = self._content, b""
        return content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self.take()


class EngineClient:
    """One engine's completions and model routes. `base_url` ends in `/v1`."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self.base_url = base_url.rstrip("/")

    async def complete(self, body: RequestBody) -> Completion:
        """A text completion, with the generated ids.

        Raises:
            MisconfiguredError: the model, the path or the key is not the engine's (401, 403, 404, 405).
            SpeakerError: retryable for lost connections, timeouts, answers that cannot be read, 408, 429, 5xx and an
                engine that is stopping; not for other refusals.
        """
        return completion_of(await self._request("POST", "/completions", body), self.base_url)

    async def complete_streaming(self, body: RequestBody, take: Callable[[list[int]], None]) -> Completion:
        """The same of a request with `stream: true`; `take` is given the ids as they come, some at a time.

        An engine that streams nothing may answer whole.

        Raises:
            EngineLostError: the connection broke in the middle: the engine was still at it.
            SpeakerError: as `complete`, or as `take` does.
        """
        streamed = StreamedCompletion(self.base_url)
        with _as_speaker_errors(self.base_url, broken=EngineLostError):
            async with self._open("POST", self.base_url + "/completions", body) as response:
                if response.status != 200 or response.content_type != _EVENT_STREAM:
                    return completion_of(self._parsed(await self._content(response)), self.base_url)
                async for content in _bounded(response):
                    new_ids = streamed.feed(content)
                    if new_ids:
                        take(new_ids)
        return streamed.whole()

    async def models(self) -> list[EngineModel]:
        """The models that the engine serves.

        Raises:
            SpeakerError: no answer, or one that is not vLLM's.
        """
        answer = await self._request("GET", "/models", None)
        try:
            return _models_in(answer)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise SpeakerError(f"{self.base_url}/models does not answer as vLLM does: {error!r}") from error

    async def metrics(self) -> str:
        """The engine's metrics in Prometheus' text form.

        Raises:
            SpeakerError: no answer, or a refusal.
        """
        url = self.base_url.removesuffix("/v1") + "/metrics"
        return (await self._body("GET", url, None)).decode("utf-8", "replace")

    async def _request(self, method: str, path: str, body: RequestBody | None) -> dict[str, Any]:
        return cast("dict[str, Any]", self._parsed(await self._body(method, self.base_url + path, body)))

    def _parsed(self, content: bytes) -> Any:
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise SpeakerError(f"{self.base_url} gave an answer that is not JSON: {error}", retryable=True) from error

    async def _body(self, method: str, url: str, body: RequestBody | None) -> bytes:
        with _as_speaker_errors(self.base_url):
            async with self._open(method, url, body) as response:
                return await self._content(response)

    def _open(
        self, method: str, url: str, body: RequestBody | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session.request(method, url, data=body, headers=_json_headers(body), allow_redirects=False)

    async def _content(self, response: aiohttp.ClientResponse) -> bytes:
        content = await _read_bounded(response)
        if response.status != 200:
            wait_s = retry_after_s(response.headers.get("Retry-After"))
            raise refusal(self.base_url, response.status, content, wait_s)
        return content


def engine_session(
    *, timeout_s: float, limit: int, api_key: str | None = None, peer_timeout_s: float = PEER_TIMEOUT_S
) -> aiohttp.ClientSession:
    """A pooled HTTP session for engines; `limit` bounds connections over all of them.

    An answer may take `timeout_s`; a host that acknowledges nothing for `peer_timeout_s` is not waited for.
    """

    def watched_socket(address: aiohttp.AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        sock = socket.socket(family, kind, protocol)
        keep_watch(sock, peer_timeout_s)
        return sock

    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=KEEPALIVE_S, socket_factory=watched_socket),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=10),
        headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
    )


def _json_headers(body: RequestBody | None) -> dict[str, str] | None:
    if body is None:
        return None
    return {"Content-Type": "application/json", "Content-Length": str(body.size_bytes)}


@contextmanager
def _as_speaker_errors(url: str, *, broken: type[SpeakerError] = SpeakerError) -> Iterator[None]:
    """aiohttp's errors as ours; `broken` is one of an answer that ends in its middle."""
    try:
        yield
    except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
        raise EngineAwayError(f"{url} cannot be reached: {error!r}", retryable=True) from error
    except aiohttp.ClientOSError as error:
        if error.errno in _NETWORK_GONE:  # nothing is said of the engine, which may be well
            raise EngineAwayError(f"the network to {url} is cut: {error!r}", retryable=True) from error
        raise EngineLostError(f"{url} did not answer: {error!r}", retryable=True) from error
    except TimeoutError as error:  # some of which are connection errors to aiohttp
        raise SpeakerError(f"{url} did not answer in time: {error!r}", retryable=True) from error
    except aiohttp.ClientConnectionError as error:
        raise EngineLostError(f"{url} did not answer: {error!r}", retryable=True) from error
    except aiohttp.ClientPayloadError as error:
        raise broken(f"{url} did not answer whole: {error!r}", retryable=True) from error
    except aiohttp.ClientError as error:
        raise SpeakerError(f"{url} did not answer whole: {error!r}", retryable=True) from error


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The whole body; more than `MAX_BODY_BYTES`, or a pause of `BODY_TIMEOUT_S`, is no answer.

    Raises:
        SpeakerError: too long; retryable, since another seed or engine may do better.
        TimeoutError: it stalls.
    """
    chunks = []
    async with asyncio.timeout(BODY_TIMEOUT_S) as patience:
        async for chunk in _bounded(response):
            chunks.append(chunk)
            patience.reschedule(asyncio.get_running_loop().time() + BODY_TIMEOUT_S)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


async def _bounded(response: aiohttp.ClientResponse) -> AsyncGenerator[bytes, None]:
    """The body as it comes, up to `MAX_BODY_BYTES`.

    Raises:
        SpeakerError: it is longer.
    """
    size = 0
    async for chunk in response.content.iter_any():
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            response.close()
            raise SpeakerError(f"{response.url} gave over {MAX_BODY_BYTES >> 20} MiB", retryable=True)
        yield chunk


def retry_after_s(header: str | None) -> float | None:
    """Seconds that a `Retry-After` header asks for: a number, or a date; None where it says nothing usable."""
    if not header:
        return None
    try:
        seconds = float(header)
        return max(0.0, seconds) if math.isfinite(seconds) else None
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(header).timestamp() - time.time())
    except (ValueError, TypeError):
        return None
