"""An OpenAI-compatible server that is asked for answers or for judgments, through the openai SDK.

The SDK retries what may pass (lost connections, 408, 409, 429, 5xx), waits as long as a `Retry-After` asks (up to two
minutes) and otherwise longer each time. What is left after that is one of our errors.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, cast
from urllib.parse import urlsplit

import openai
from openai.types.chat import ChatCompletion, ChatCompletionMessageParam

from platolm.errors import EngineAwayError, InputError, MisconfiguredError, SpeakerError

DEFAULT_TIMEOUT_S = 300.0
MAX_RETRIES = 8
GREETING_RETRIES = 2
"""Of the first request, before any work is done: a wrong address is told in seconds."""
_NO_KEY = "none"
_ABOUT_ONE_REQUEST = frozenset({400, 413, 422})
_MAX_DETAIL_CHARS = 300

Chat = Sequence[Mapping[str, str]]
"""Messages with `role` and `content`."""


@dataclass(frozen=True)
class Usage:
    """Tokens, as the server counted them; none where it does not say."""

    prompt_tokens: int = 0
    completion_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.prompt_tokens + other.prompt_tokens, self.completion_tokens + other.completion_tokens)


@dataclass(frozen=True)
class Reply:
    """What the model said."""

    text: str
    usage: Usage


@dataclass(frozen=True)
class EndpointSettings:
    """Where a side is and how it is asked.

    `side` and `key_from` are for errors: "judge", "--judge-api-key or PLATOLM_JUDGE_API_KEY". `options` replace fields
    of each request; one that is None leaves the field out. `model` None: the only one that is served.
    """

    side: str
    url: str
    key_from: str
    api_key: str | None = None
    model: str | None = None
    options: Mapping[str, Any] | None = None
    concurrency: int = 8
    timeout_s: float = DEFAULT_TIMEOUT_S
    max_retries: int = MAX_RETRIES


class Endpoint:
    """One server while it is open; make it with `open_endpoint`."""

    def __init__(self, client: openai.AsyncOpenAI, settings: EndpointSettings, model: str) -> None:
        self._client = client
        self._settings = settings
        self.model = model

    @property
    def concurrency(self) -> int:
        return self._settings.concurrency

    async def ask(self, messages: Chat, **fields: Any) -> Reply:
        """The model's next message; `fields` are the request's others: `temperature`, `max_tokens`, …

        Raises:
            MisconfiguredError: the key is refused, or the model or path is not there.
            EngineAwayError: nobody answers, after all retries.
            SpeakerError: refused or failed otherwise; `is_about_one_request` tells whether another may do better.
        """
        wanted = {**fields, **(self._settings.options or {})}
        body = {name: value for name, value in wanted.items() if value is not None}
        chat = cast("list[ChatCompletionMessageParam]", list(messages))
        try:
            answer = await self._client.chat.completions.create(model=self.model, messages=chat, extra_body=body)
        except (openai.OpenAIError, ValueError) as error:  # the SDK lets broken JSON through as it is
            raise _as_ours(error, self._settings) from error
        return _reply(answer, self._settings)


def is_about_one_request(error: SpeakerError) -> bool:
    """Whether it was this request that the server did not take (400, 413, 422: too long, say)."""
    return error.status in _ABOUT_ONE_REQUEST


@asynccontextmanager
async def open_endpoint(settings: EndpointSettings) -> AsyncIterator[Endpoint]:
    """A side's server, once it has shown that it is there and takes the key, with its model known.

    Raises:
        InputError: an address or a key that cannot be one.
        EngineAwayError: nobody answers.
        MisconfiguredError: the key is refused, or no model was named and the server does not serve exactly one.
        SpeakerError: no model was named, and the server does not tell what it serves.
    """
    _check(settings)
    http = openai.DefaultAsyncHttpx2Client(trust_env=not _is_loopback(settings.url), timeout=settings.timeout_s)
    async with http:
        client = openai.AsyncOpenAI(
            base_url=settings.url,
            api_key=settings.api_key or _NO_KEY,
            max_retries=settings.max_retries,
            http_client=http,
        )
        yield Endpoint(client, settings, await _model(client, settings))


def _check(settings: EndpointSettings) -> None:
    if not settings.url.startswith(("http://", "https://")):
        raise InputError(f"{settings.url}: the {settings.side}'s address begins with http:// and ends in /v1")
    key = settings.api_key or ""
    if not key.isascii() or not key.isprintable() or " " in key:
        raise InputError(f"the {settings.side}'s key holds characters that no HTTP header carries")


async def _model(client: openai.AsyncOpenAI, settings: EndpointSettings) -> str:
    """The one that was named, or the only one that is served."""
    greeting = client.with_options(max_retries=min(GREETING_RETRIES, settings.max_retries))
    try:
        served = [model.id async for model in greeting.models.list()]
    except (openai.OpenAIError, ValueError) as error:
        is_final = isinstance(error, openai.APIConnectionError | openai.AuthenticationError)
        if settings.model is None or is_final:
            raise _as_ours(error, settings) from error
        return settings.model  # some servers and keys have no list of models
    if settings.model is not None:
        return settings.model
    if len(served) != 1:
        names = ", ".join(served[:8]) or "none"
        raise MisconfiguredError(
            f"the {settings.side} at {settings.url} serves {len(served)} models ({names}): name one"
        )
    return served[0]


def _reply(answer: ChatCompletion, settings: EndpointSettings) -> Reply:
    """Raises SpeakerError where it is no chat completion: the SDK passes on whatever JSON it got."""
    try:
        text = answer.choices[0].message.content or ""
        usage = answer.usage
        counts = Usage(usage.prompt_tokens, usage.completion_tokens) if usage is not None else Usage()
    except (AttributeError, IndexError, TypeError) as error:
        raise SpeakerError(f"the {settings.side} at {settings.url} gave no chat completion: {error}") from error
    return Reply(text, counts)


def _as_ours(error: Exception, settings: EndpointSettings) -> SpeakerError:
    who = f"the {settings.side} at {settings.url}"
    if isinstance(error, openai.APIConnectionError):
        return EngineAwayError(f"{who} does not answer ({error.__cause__ or error}): is it up?", retryable=True)
    if not isinstance(error, openai.APIStatusError):
        return SpeakerError(f"{who} gave an answer that cannot be read: {_brief(str(error))}")
    status = error.status_code
    if status in (401, 403):
        return MisconfiguredError(
            f"{who} refuses the key (HTTP {status}): give it by {settings.key_from}", status=status
        )
    said = f"{who} says: {_brief(_message(error))} (HTTP {status})"
    if status == 404:
        return MisconfiguredError(f"{said}; is the model's name right, and does the address end in /v1?", status=status)
    return SpeakerError(said, status=status, retryable=status not in _ABOUT_ONE_REQUEST)


def _message(error: openai.APIStatusError) -> str:
    """The server's own words, where it sent them as OpenAI does."""
    message = error.body.get("message") if isinstance(error.body, Mapping) else None
    return message if isinstance(message, str) and message else error.message


def _brief(text: str) -> str:
    return " ".join(text.split())[:_MAX_DETAIL_CHARS]


def _is_loopback(url: str) -> bool:
    """A proxy from the environment cannot reach this machine's own loopback."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
