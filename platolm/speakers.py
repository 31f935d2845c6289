"""Who makes the next utterance: ids in, ids out over an engine's completions route."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import aiohttp

from platolm.conversation import SYSTEM
from platolm.dyadic import DyadicProfile, Turn, prompt_ids
from platolm.endings import FinishReason
from platolm.errors import SpeakerError
from platolm.runs import Sampling
from platolm.tokenizer import HubTokenizer

KEEPALIVE_S = 3.0
"""Below vLLM's 5 s for idle sockets, so that the client never reuses one that the server is closing."""

_ERROR_TEXT_CHARS = 300
_ABORTED = "abort"  # vLLM's reason for a request that it ended itself


@dataclass(frozen=True)
class Utterance:
    """What a speaker said; `token_ids` are as generated, without the eos."""

    content: str
    token_ids: list[int]
    num_prompt_tokens: int
    finish_reason: FinishReason
    duration_s: float


@dataclass(frozen=True)
class EngineModel:
    """A model as an engine describes it; `root` is the folder or hub name it was loaded from."""

    id: str
    root: str
    max_model_len: int


@dataclass(frozen=True)
class TokenSpeaker:
    """One side of a conversation, prompted with ids that this process composed.

    `context_tokens` bounds prompt plus utterance.
    """

    profile: DyadicProfile
    tokenizer: HubTokenizer
    model: str
    sampling: Sampling
    context_tokens: int
    system_prompt: str | None = None

    @property
    def role(self) -> str:
        return self.profile.target_role

    def prompt(self, turns: Sequence[Turn]) -> list[int]:
        """Ids after which this side speaks next."""
        system = [Turn(SYSTEM, self.system_prompt)] if self.system_prompt else []
        return prompt_ids([*system, *turns], self.profile, self.tokenizer)

    def room(self, prompt: Sequence[int]) -> int:
        """Tokens left for the utterance, its eos included; none or less: the context is full."""
        return self.context_tokens - len(prompt)

    async def speak(self, engine: EngineClient, prompt: list[int], *, seed: int) -> Utterance:
        """Generate one utterance.

        The engine clamps silently when prompt and `max_tokens` exceed its limit and says `length` for that too, so
        that the cause is told from our own arithmetic.

        Raises:
            SpeakerError: the engine refused, failed or did not answer.
        """
        room = self.room(prompt)
        assert room > 0, "the caller ends a conversation whose context is full"
        max_tokens = min(self.sampling.max_tokens, room)
        started = time.monotonic()
        choice = await engine.complete(
            {
                "model": self.model,
                "prompt": prompt,
                "max_tokens": max_tokens,
                "temperature": self.sampling.temperature,
                "top_p": self.sampling.top_p,
                "seed": seed,
                "return_token_ids": True,
            }
        )
        ids = list(choice["token_ids"])
        if ids and ids[-1] == self.tokenizer.eos_id:
            ids.pop()
        return Utterance(
            content=self.tokenizer.decode(ids),
            token_ids=ids,
            num_prompt_tokens=len(prompt),
            finish_reason=_finish_reason(choice["finish_reason"], max_tokens, self.sampling.max_tokens),
            duration_s=round(time.monotonic() - started, 3),
        )


class EngineClient:
    """One engine's completions and model routes. `base_url` ends in `/v1`."""

    def __init__(self, session: aiohttp.ClientSession, base_url: str) -> None:
        self._session = session
        self.base_url = base_url.rstrip("/")

    async def complete(self, body: dict[str, Any]) -> dict[str, Any]:
        """The first choice of a text completion.

        Raises:
            SpeakerError: retryable for lost connections, timeouts, 408, 429, 5xx and an engine that is stopping; not
                for other refusals.
        """
        answer = await self._request("POST", "/completions", body)
        choice: dict[str, Any] = answer["choices"][0]
        if choice.get("finish_reason") == _ABORTED:
            raise SpeakerError(f"{self.base_url} stopped in the middle of an utterance", retryable=True)
        if not isinstance(choice.get("token_ids"), list):
            raise SpeakerError(f"{self.base_url} returns no token ids; it must be vLLM 0.10 or later")
        return choice

    async def models(self) -> list[EngineModel]:
        """The models that the engine serves.

        Raises:
            SpeakerError: no answer, or one that is not vLLM's.
        """
        answer = await self._request("GET", "/models", None)
        try:
            return [EngineModel(m["id"], m.get("root") or m["id"], int(m["max_model_len"])) for m in answer["data"]]
        except (KeyError, TypeError) as error:
            raise SpeakerError(f"{self.base_url}/models does not answer as vLLM does: {error!r}") from error

    async def _request(self, method: str, path: str, body: dict[str, Any] | None) -> dict[str, Any]:
        try:
            async with self._session.request(method, self.base_url + path, json=body) as response:
                if response.status != 200:
                    raise await _refusal(self.base_url, response)
                return cast("dict[str, Any]", await response.json())
        except (TimeoutError, aiohttp.ClientError, ValueError) as error:
            raise SpeakerError(f"{self.base_url} did not answer: {error!r}", retryable=True) from error


def engine_session(*, timeout_s: float, limit: int) -> aiohttp.ClientSession:
    """A pooled HTTP session for engines; `limit` bounds connections over all of them."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=KEEPALIVE_S),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=10),
    )


def _finish_reason(engine_reason: str, max_tokens: int, asked_tokens: int) -> FinishReason:
    if engine_reason == "stop":
        return FinishReason.STOP
    return FinishReason.CONTEXT if max_tokens < asked_tokens else FinishReason.LENGTH


async def _refusal(base_url: str, response: aiohttp.ClientResponse) -> SpeakerError:
    text = (await response.text())[:_ERROR_TEXT_CHARS]
    retry_after = response.headers.get("Retry-After", "")
    return SpeakerError(
        f"{base_url} answered {response.status}: {text}",
        status=response.status,
        retryable=response.status in (408, 429) or response.status >= 500,
        retry_after_s=float(retry_after) if retry_after.isdigit() else None,
    )
