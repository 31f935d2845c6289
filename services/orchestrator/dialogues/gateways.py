"""The two model servers as talks ask them: OpenAI chat, streamed, over one pool of connections.

aiohttp rather than OpenAI's own package: the image has it, and 30 MB more do not fit its bound.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from platolm.conversation import ASSISTANT, USER
from platolm.dialogues_api import SpeakerState
from platolm.engine_client import KEEPALIVE_S, retry_after_s
from platolm.errors import SpeakerError
from platolm.respondents import RESPONDENTS
from platolm.simulators import PROFILES as SIMULATORS
from platolm.simulators.cleaning import End
from services.orchestrator.settings import ApiSettings

SESSION_HEADER = "X-Session-Id"
"""What the proxy before several replicas goes by."""

_CONNECT_TIMEOUT_S = 5.0
_SILENCE_S = 600.0
"""A stream that says nothing for so long is given up; with a run going on, an utterance waits for its turn."""
_LOOK_TIMEOUT_S = 5.0
_LINE_BYTES = 8 * 2**20  # the first event carries the prompt's ids
_ERROR_CHARS = 300
_NO_ROOM = "context_length_exceeded"
_RETRYABLE_STATUS = frozenset({408, 409, 425, 429})


class NoRoomError(Exception):
    """The talk fills the model's context: there is no room for another utterance."""


@dataclass(frozen=True)
class Piece:
    """What one event of a stream adds to an utterance. `num_prompt_tokens` and `profile` come with the first."""

    text: str = ""
    num_tokens: int = 0
    finish_reason: str | None = None
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    model: str = ""
    end: End | None = None
    profile: str | None = None


class GatewayClient:
    """One side's model server. `base_url` ends in `/v1`."""

    def __init__(self, session: aiohttp.ClientSession, side: str, base_url: str) -> None:
        self._session = session
        self._side = side
        self._url = base_url.rstrip("/")
        self._setting = f"PLATOLM_API_{side.upper()}_URL"

    async def state(self) -> SpeakerState:
        """Which model is served, and whether it can be asked; never an error."""
        timeout = aiohttp.ClientTimeout(total=_LOOK_TIMEOUT_S)
        try:
            async with self._request("GET", "/models", timeout=timeout) as response:
                card = (await response.json(content_type=None))["data"][0]
                name, length = str(card["id"]), card.get("max_model_len")
        except SpeakerError as error:
            return SpeakerState(ready=False, detail=str(error))
        if not isinstance(length, int):
            return SpeakerState(model=name, ready=False, detail=f"{self._who} is loading its model: wait a moment")
        return SpeakerState(model=name, max_model_len=length, ready=True)

    async def pieces(self, body: Mapping[str, Any], *, session_id: str) -> AsyncGenerator[Piece, None]:
        """An utterance as it is made; closing the generator ends the engine's request.

        Raises:
            NoRoomError: the prompt fills the context.
            SpeakerError: the server cannot be reached, refuses, fails or breaks off.
        """
        asked = {**body, "stream": True, "stream_options": {"include_usage": True}, "return_token_ids": True}
        headers = {SESSION_HEADER: session_id}
        async with self._request("POST", "/chat/completions", json=asked, headers=headers) as response:
            async for event in self._events(response):
                yield self._piece(event)

    async def _events(self, response: aiohttp.ClientResponse) -> AsyncGenerator[dict[str, Any], None]:
        """The stream's events, which a closing `[DONE]` ends."""
        async for line in response.content:
            if not line.startswith(b"data:"):  # an empty line between events, a comment, another field
                continue
            data = line.removeprefix(b"data:").strip()
            if data == b"[DONE]":
                return
            event = json.loads(data)
            if "error" in event:
                raise SpeakerError(f"{self._who} failed: {_message(event)}", retryable=True)
            yield event
        raise self._broken_off()

    def _piece(self, event: Mapping[str, Any]) -> Piece:
        usage = event.get("usage") or {}
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens")
        if not event["choices"]:
            return Piece(num_cached_tokens=cached)
        choice, prompt = event["choices"][0], event.get("prompt_token_ids")
        if choice["finish_reason"] == "abort":  # vLLM's word for a request that it ended itself
            raise self._broken_off()
        return Piece(
            text=choice["delta"].get("content") or "",
            num_tokens=len(choice.get("token_ids") or ()),
            finish_reason=choice["finish_reason"],
            num_prompt_tokens=None if prompt is None else len(prompt),
            num_cached_tokens=cached,
            model=str(event["model"]),
            end=_end(choice),
            profile=_known_profile(choice["delta"].get("profile")),
        )

    @asynccontextmanager
    async def _request(self, method: str, path: str, **options: Any) -> AsyncIterator[aiohttp.ClientResponse]:
        """An answer of status 200.

        Raises:
            NoRoomError, SpeakerError: see `pieces`.
        """
        try:
            async with self._session.request(method, self._url + path, allow_redirects=False, **options) as response:
                if response.status != 200:
                    raise await self._refusal(response)
                yield response
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            raise SpeakerError(f"{self._who} cannot be reached: {self._see_setting}", retryable=True) from error
        except TimeoutError as error:  # some of which are connection errors to aiohttp
            raise SpeakerError(f"{self._who} did not answer in time: try again", retryable=True) from error
        except aiohttp.ClientError as error:
            raise self._broken_off() from error
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            raise SpeakerError(f"{self._who} does not answer as a model server: {self._see_setting}") from error

    async def _refusal(self, response: aiohttp.ClientResponse) -> Exception:
        try:
            answer = json.loads(await response.read())
        except ValueError:
            answer = None
        detail = answer.get("error") if isinstance(answer, dict) else None
        if isinstance(detail, dict) and detail.get("code") == _NO_ROOM:
            return NoRoomError()
        status = response.status
        advice = ": set PLATOLM_API_GATEWAY_API_KEY to its key" if status in (401, 403) else f": {_message(answer)}"
        return SpeakerError(
            f"{self._who} answered {status}{advice}",
            status=status,
            retryable=status in _RETRYABLE_STATUS or status >= 500,
            retry_after_s=retry_after_s(response.headers.get("Retry-After")),
        )

    @property
    def _who(self) -> str:
        return f"the {self._side} at {self._url}"

    @property
    def _see_setting(self) -> str:
        return f"start it (platolm up), or set {self._setting}"

    def _broken_off(self) -> SpeakerError:
        return SpeakerError(f"{self._who} broke off in the middle of its answer: try again", retryable=True)


@asynccontextmanager
async def open_gateways(settings: ApiSettings) -> AsyncIterator[dict[str, GatewayClient]]:
    """Both model servers by the role that they speak, over one pool that is closed at the end."""
    key = settings.gateway_api_key
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_SILENCE_S),
        headers={"Authorization": f"Bearer {key.get_secret_value().strip()}"} if key is not None else None,
        read_bufsize=_LINE_BYTES,
    ) as session:
        yield {
            USER: GatewayClient(session, "simulator", settings.simulator_url),
            ASSISTANT: GatewayClient(session, "respondent", settings.respondent_url),
        }


_ENDS = {"goodbye": End.MARKER, "blank": End.BLANK}
"""By the word of a simulator's server for why it ends the conversation."""


def _end(choice: Mapping[str, Any]) -> End | None:
    why = (choice.get("platolm") or {}).get("why")
    return _ENDS.get(str(why))


def _known_profile(name: object) -> str | None:
    """A server may be newer than this process, or another's: what it says is taken where it means something here."""
    return name if isinstance(name, str) and (name in SIMULATORS or name in RESPONDENTS) else None


def _message(answer: object) -> str:
    """What an error in OpenAI's shape says, in one line."""
    detail = answer.get("error") if isinstance(answer, dict) else None
    said = detail.get("message") if isinstance(detail, dict) else None
    return " ".join(str(said or "no reason given").split())[:_ERROR_CHARS]
