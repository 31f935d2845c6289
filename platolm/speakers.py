"""Who makes the next utterance: ids in, ids out over an engine's completions route."""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any, cast

import aiohttp
import numpy as np
import orjson

from platolm.conversation import SYSTEM
from platolm.dyadic import DyadicProfile, PromptIds, Turn, prompt_ids
from platolm.endings import FinishReason
from platolm.errors import EngineAwayError, EngineLostError, MisconfiguredError, SpeakerError
from platolm.spec import Sampling
from platolm.tokenizer import HubTokenizer

KEEPALIVE_S = 3.0
"""Below vLLM's 5 s for idle sockets, so that the client never reuses one that the server is closing."""
BODY_TIMEOUT_S = 30.0
"""An answer that has begun is there at once, since nothing is streamed; one that stalls is given up."""
MAX_BODY_BYTES = 64 * 2**20

_ERROR_TEXT_CHARS = 300
_ABORTED = "abort"  # vLLM's reason for a request that it ended itself
_RETRYABLE_STATUS = frozenset({408, 409, 425, 429})
_MISCONFIGURED_STATUS = frozenset({401, 403, 404, 405})


@dataclass(frozen=True, slots=True)
class Utterance:
    """What a speaker said; `token_ids` are as generated, without the eos.

    `num_cached_tokens` is how much of the prompt the engine had in its prefix cache, None where it does not say.
    """

    content: str
    token_ids: list[int]
    num_prompt_tokens: int
    finish_reason: FinishReason
    duration_s: float
    num_cached_tokens: int | None = None


@dataclass(frozen=True)
class EngineModel:
    """A model as an engine describes it; `root` is the folder or hub name it was loaded from."""

    id: str
    root: str
    max_model_len: int


@dataclass(frozen=True)
class TokenSpeaker:
    """One side of a run's conversations, prompted with ids that this process composed.

    `context_tokens` bounds prompt plus utterance.
    """

    profile: DyadicProfile
    tokenizer: HubTokenizer
    model: str
    sampling: Sampling
    context_tokens: int
    _request: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_request", {"model": self.model, **_sampling_fields(self.sampling)})

    @property
    def role(self) -> str:
        return self.profile.target_role

    def new_prompt(self, system_prompt: str | None = None) -> PromptIds:
        """An empty conversation as this side sees it."""
        return PromptIds(self.profile, self.tokenizer, system_prompt=system_prompt)

    def prompt(self, turns: Sequence[Turn], system_prompt: str | None = None) -> list[int]:
        """Ids after which this side speaks next."""
        system = [Turn(SYSTEM, system_prompt)] if system_prompt else []
        return prompt_ids([*system, *turns], self.profile, self.tokenizer)

    def room(self, prompt: Sequence[int] | PromptIds) -> int:
        """Tokens left for the utterance, its eos included; none or less: the context is full."""
        return self.context_tokens - len(prompt)

    async def speak(self, engine: EngineClient, prompt: Sequence[int] | PromptIds, *, seed: int) -> Utterance:
        """Generate one utterance.

        Only the request's bytes are held while the engine works: thousands of conversations wait in one process.

        The engine clamps silently when prompt and `max_tokens` exceed its limit and says `length` for that too, so
        that the cause is told from our own arithmetic.

        Raises:
            SpeakerError: the engine refused, failed or did not answer.
        """
        room = self.room(prompt)
        assert room > 0, "the caller ends a conversation whose context is full"
        max_tokens = min(self.sampling.max_tokens, room)
        started = time.monotonic()
        completion = await engine.complete(self._body(prompt, max_tokens, seed))
        ids = self._checked(completion.token_ids)
        if ids and ids[-1] == self.tokenizer.eos_id:
            ids.pop()
        return Utterance(
            content=self.tokenizer.decode(ids),
            token_ids=ids,
            num_prompt_tokens=len(prompt),
            finish_reason=_finish_reason(completion.finish_reason, max_tokens, self.sampling.max_tokens),
            duration_s=round(time.monotonic() - started, 3),
            num_cached_tokens=completion.num_cached_tokens,
        )

    def _checked(self, ids: list[Any]) -> list[int]:
        """Generated ids that are ids of this tokenizer.

        Raises:
            SpeakerError: they are something else; retryable.
        """
        vocab_size = self.tokenizer.vocab_size
        if not all(type(token_id) is int and 0 <= token_id < vocab_size for token_id in ids):
            raise SpeakerError(f"model {self.model} gave ids that its tokenizer does not have", retryable=True)
        return ids

    def _body(self, prompt: Sequence[int] | PromptIds, max_tokens: int, seed: int) -> RequestBody:
        ids = prompt.packed() if isinstance(prompt, PromptIds) else array("i", prompt)
        numbers = np.frombuffer(ids, dtype=ids.typecode)  # serialised without a Python object for each
        request = {**self._request, "prompt": numbers, "max_tokens": max_tokens, "seed": seed}
        return RequestBody(orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY))


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


@dataclass(frozen=True, slots=True)
class Completion:
    """The first choice of a text completion; `token_ids` include the eos where it was generated."""

    token_ids: list[int]
    finish_reason: str | None
    num_cached_tokens: int | None


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
        answer = await self._request("POST", "/completions", body)
        try:
            choice = answer["choices"][0]
            finish_reason, ids = choice.get("finish_reason"), choice.get("token_ids")
            num_cached = ((answer.get("usage") or {}).get("prompt_tokens_details") or {}).get("cached_tokens")
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise SpeakerError(f"{self.base_url} gave no completion: {error!r}", retryable=True) from error
        if finish_reason == _ABORTED:
            raise SpeakerError(f"{self.base_url} stopped in the middle of an utterance", retryable=True)
        if not isinstance(num_cached, int) or num_cached < 0:
            num_cached = None
        if not isinstance(ids, list):
            raise MisconfiguredError(f"{self.base_url} returns no token ids; it must be vLLM 0.10 or later")
        return Completion(ids, finish_reason, num_cached)

    async def models(self) -> list[EngineModel]:
        """The models that the engine serves.

        Raises:
            SpeakerError: no answer, or one that is not vLLM's.
        """
        answer = await self._request("GET", "/models", None)
        try:
            return [EngineModel(m["id"], m.get("root") or m["id"], int(m["max_model_len"])) for m in answer["data"]]
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
        try:
            return cast("dict[str, Any]", orjson.loads(await self._body(method, self.base_url + path, body)))
        except orjson.JSONDecodeError as error:
            raise SpeakerError(f"{self.base_url} gave an answer that is not JSON: {error}", retryable=True) from error

    async def _body(self, method: str, url: str, body: RequestBody | None) -> bytes:
        try:
            async with self._session.request(
                method, url, data=body, headers=_json_headers(body), allow_redirects=False
            ) as response:
                content = await _read_bounded(response)
                if response.status != 200:
                    raise _refusal(self.base_url, response, content)
                return content
        except (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError) as error:
            raise EngineAwayError(f"{self.base_url} cannot be reached: {error!r}", retryable=True) from error
        except TimeoutError as error:  # some of which are connection errors to aiohttp
            raise SpeakerError(f"{self.base_url} did not answer in time: {error!r}", retryable=True) from error
        except aiohttp.ClientConnectionError as error:
            raise EngineLostError(f"{self.base_url} did not answer: {error!r}", retryable=True) from error
        except aiohttp.ClientError as error:
            raise SpeakerError(f"{self.base_url} did not answer whole: {error!r}", retryable=True) from error


def engine_session(*, timeout_s: float, limit: int, api_key: str | None = None) -> aiohttp.ClientSession:
    """A pooled HTTP session for engines; `limit` bounds connections over all of them."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=KEEPALIVE_S),
        timeout=aiohttp.ClientTimeout(total=timeout_s, sock_connect=10),
        headers={"Authorization": f"Bearer {api_key}"} if api_key else None,
    )


def _json_headers(body: RequestBody | None) -> dict[str, str] | None:
    if body is None:
        return None
    return {"Content-Type": "application/json", "Content-Length": str(body.size_bytes)}


async def _read_bounded(response: aiohttp.ClientResponse) -> bytes:
    """The whole body; more than `MAX_BODY_BYTES`, or a pause of `BODY_TIMEOUT_S`, is no answer.

    Raises:
        SpeakerError: too long; retryable, since another seed or engine may do better.
        TimeoutError: it stalls.
    """
    chunks = []
    size = 0
    async with asyncio.timeout(BODY_TIMEOUT_S) as patience:
        async for chunk in response.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                response.close()
                raise SpeakerError(f"{response.url} gave over {MAX_BODY_BYTES >> 20} MiB", retryable=True)
            patience.reschedule(asyncio.get_running_loop().time() + BODY_TIMEOUT_S)
    return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """What a request says of sampling; extensions only where they are used, since not every engine knows them."""
    fields: dict[str, Any] = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "return_token_ids": True,
    }
    unused = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    return fields | {name: value for name, off in unused.items() if (value := getattr(sampling, name)) != off}


def _refusal(url: str, response: aiohttp.ClientResponse, content: bytes) -> SpeakerError:
    text = content[:_ERROR_TEXT_CHARS].decode("utf-8", "replace")
    message = f"{url} answered {response.status}: {' '.join(text.split())}"
    if response.status in _MISCONFIGURED_STATUS or 300 <= response.status < 400:
        return MisconfiguredError(message, status=response.status)
    retryable = response.status in _RETRYABLE_STATUS or response.status >= 500
    return SpeakerError(
        message,
        status=response.status,
        retryable=retryable,
        retry_after_s=retry_after_s(response.headers.get("Retry-After")),
    )


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


def _finish_reason(reported: str | None, max_tokens: int, wanted_tokens: int) -> FinishReason:
    if reported == "stop":
        return FinishReason.STOP
    return FinishReason.LENGTH if max_tokens == wanted_tokens else FinishReason.CONTEXT
