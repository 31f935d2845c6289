"""The inner client: one connection pool to the engine's HTTP API, whole answers or server-sent events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from services.gateway.errors import RequestError, unavailable

ENGINE_KEEP_ALIVE_S = 75
"""How long the engine keeps an idle socket; ours must be given up before that."""

_POOL_KEEP_ALIVE_S = 30
_CONNECT_TIMEOUT_S = 5
_PROBE_TIMEOUT_S = 30
_LINE_BUFFER_BYTES = 8 * 1024 * 1024  # one event may carry a long prompt's ids


@dataclass(frozen=True)
class EngineModel:
    """What the engine serves: its name there, and its context length in tokens."""

    name: str
    max_model_len: int


class EngineClient:
    """Calls to one vLLM server. Opened with `engine_client`."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self._base_url = base_url

    async def complete(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """`POST /v1/completions`, the whole answer.

        Raises:
            RequestError: the engine refused (its status), cannot be reached (503) or took too long (504).
        """
        async with self._post(body) as response:
            reply: dict[str, Any] = await response.json()
            return reply

    async def stream(self, body: Mapping[str, Any]) -> AsyncIterator[dict[str, Any]]:
        """`POST /v1/completions` with `stream`: its events, the closing `[DONE]` left out.

        Raises:
            RequestError: as `complete`, before the first event or between two.
        """
        async with self._post({**body, "stream": True}) as response:
            async for line in response.content:
                if not line.startswith(b"data:"):  # an empty line between events, a comment, another field
                    continue
                data = line.removeprefix(b"data:").strip()
                if data == b"[DONE]":
                    return
                event = json.loads(data)
                if "error" in event:
                    raise _refusal(_status_in(event), event)
                yield event
        raise RequestError(502, "the engine broke off its answer", kind="server_error", code="engine_broke_off")

    async def models(self) -> list[EngineModel]:
        """`GET /v1/models`."""
        async with self._session.get(f"{self._base_url}/v1/models", timeout=_short()) as response:
            response.raise_for_status()
            cards = {card["id"]: card for card in (await response.json())["data"]}
        # An adapter that shares its engine has no length of its own there: its base, its `parent`, has.
        return [
            EngineModel(name, int(cards.get(card.get("parent"), card)["max_model_len"])) for name, card in cards.items()
        ]

    async def healthy(self) -> bool:
        """Whether `GET /health` answers 200."""
        try:
            async with self._session.get(f"{self._base_url}/health", timeout=_short()) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    async def metrics(self) -> str:
        """`GET /metrics`; empty while the engine does not answer."""
        try:
            async with self._session.get(f"{self._base_url}/metrics", timeout=_short()) as response:
                return await response.text() if response.status == 200 else ""
        except (aiohttp.ClientError, TimeoutError):
            return ""

    @asynccontextmanager
    async def _post(self, body: Mapping[str, Any]) -> AsyncIterator[aiohttp.ClientResponse]:
        try:
            async with self._session.post(f"{self._base_url}/v1/completions", json=body) as response:
                if response.status != 200:
                    raise _refusal(response.status, await _json_or_text(response))
                yield response
        except TimeoutError as error:
            raise RequestError(504, "the engine took too long", kind="server_error", code="engine_timeout") from error
        except aiohttp.ClientError as error:
            raise unavailable(f"the engine cannot be reached: {error}", code="engine_unavailable") from error


@asynccontextmanager
async def engine_client(base_url: str, *, api_key: str | None, timeout_s: float) -> AsyncIterator[EngineClient]:
    """A client with its own pool, closed at the end."""
    async with aiohttp.ClientSession(
        headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_POOL_KEEP_ALIVE_S),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=_CONNECT_TIMEOUT_S),
        read_bufsize=_LINE_BUFFER_BYTES,
    ) as session:
        yield EngineClient(session, base_url)


def _short() -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=_PROBE_TIMEOUT_S, sock_connect=_CONNECT_TIMEOUT_S)


async def _json_or_text(response: aiohttp.ClientResponse) -> Any:
    text = await response.text()
    try:
        return json.loads(text)
    except ValueError:
        return {"error": {"message": text[:500]}}


def _status_in(event: Mapping[str, Any]) -> int:
    """vLLM finds some mistakes only after it has said 200; the error event carries the status it meant."""
    code = event["error"].get("code") if isinstance(event["error"], dict) else None
    return code if isinstance(code, int) else 500


def _refusal(status: int, body: Any) -> RequestError:
    """The engine's error as ours: a caller's mistake keeps its status, the rest is the server's."""
    detail = body.get("error") if isinstance(body, dict) else None
    message = detail.get("message") if isinstance(detail, dict) else None
    text = str(message or "the engine refused the request")
    if status in (400, 404, 413, 422):
        param = detail.get("param") if isinstance(detail, dict) else None
        return RequestError(400, text, param=param)
    if status in (429, 503):
        return unavailable(text, code="engine_busy", retry_after_s=1)
    return RequestError(502, text, kind="server_error", code="engine_error")
