"""Why a chat API did not answer, as the project's errors; what it may have cost, and how long to wait."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

import aiohttp
import httpx2
import openai

from platolm.chat_apis.pacing import LONGEST_WAIT_S
from platolm.chat_apis.rate_headers import pause_asked_s
from platolm.errors import ContextFullError, EngineAwayError, MisconfiguredError, SpeakerError

_TEXT_CHARS = 300
_KEY_STATUS = frozenset({401, 403})
_PLACE_STATUS = frozenset({404, 405})
_PASSING_STATUS = frozenset({408, 409, 425, 429})
_NO_MONEY_STATUS = 402
_NO_MONEY_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
_UNSUPPORTED_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter"})
_AWAY = (aiohttp.ConnectionTimeoutError, aiohttp.ClientConnectorError, httpx2.ConnectError)
_SILENT = (TimeoutError, httpx2.TimeoutException)
_FILTER_CODE = "content_filter"
_CONTEXT_CODES = frozenset({"context_length_exceeded", "exceed_context_size_error"})
_CONTEXT_TEXTS = (
    "maximum context length",  # OpenAI, vLLM
    "exceeds the available context size",  # llama.cpp
    "context size has been exceeded",  # llama.cpp, in the middle of an answer, with status 500
)


class Fate(Enum):
    """What became of a request that was not answered."""

    NEVER_SENT = auto()
    REFUSED = auto()
    """By a status: nothing was generated."""
    UNKNOWN = auto()
    """It may have been answered, and charged."""


@dataclass(frozen=True)
class Failure:
    """`pause_s` is what the API asks to wait; `headers` are empty where no answer came."""

    error: SpeakerError
    fate: Fate
    headers: Mapping[str, str]
    pause_s: float | None = None


def failure_of(error: Exception, name: str, key: str) -> Failure:
    """What an exception of the SDK comes to; `name` is the endpoint's. The key is in no message."""
    if isinstance(error, openai.APIStatusError):
        return _refusal(error, name, key)
    if isinstance(error, openai.APIConnectionError | httpx2.HTTPError):
        return _lost(error, name, key)
    if isinstance(error, openai.APIError) and _is_context_full(error):
        return Failure(ContextFullError(f"{name}: {_shown(error.message, key)}"), Fate.UNKNOWN, {})
    told = SpeakerError(f"{name} gave no chat completion: {_shown(repr(error), key)}", retryable=True)
    return Failure(told, Fate.UNKNOWN, {})


def _lost(error: Exception, name: str, key: str) -> Failure:
    """No answer, or none to its end; the transport's own exception tells more than what was made of it."""
    chain: list[BaseException] = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    told = f"{name} did not answer whole: {_shown(repr(chain[-1]), key)}"
    if any(isinstance(one, _AWAY) for one in chain):
        away = EngineAwayError(f"{name} cannot be reached: {_shown(repr(chain[-1]), key)}", retryable=True)
        return Failure(away, Fate.NEVER_SENT, {})
    if any(isinstance(one, _SILENT) for one in chain) and not any(_is_broken(one) for one in chain):
        told = f"{name} did not answer in time"
    return Failure(SpeakerError(told, retryable=True), Fate.UNKNOWN, {})


def _is_broken(error: BaseException) -> bool:
    """A connection that ended; the SDK's transport takes it for a timeout."""
    return isinstance(error, aiohttp.ClientConnectionError) and not isinstance(error, TimeoutError)


def _refusal(error: openai.APIStatusError, name: str, key: str) -> Failure:
    headers = error.response.headers
    pause_s = pause_asked_s(headers)
    message = f"{name} answered {error.status_code}: {_shown(_said(error), key)}"
    return Failure(_told(error, message, pause_s), Fate.REFUSED, headers, pause_s)


def _told(error: openai.APIStatusError, message: str, pause_s: float | None) -> SpeakerError:
    status = error.status_code
    if _is_context_full(error):
        return ContextFullError(message, status=status)
    if (hint := _what_to_change(error)) is not None:
        return MisconfiguredError(f"{message}; {hint}", status=status)
    if pause_s is not None and pause_s > LONGEST_WAIT_S:
        hint = f"it asks for a pause of {pause_s / 60:.0f} minutes: resume the run after it"
        return MisconfiguredError(f"{message}; {hint}", status=status, retry_after_s=pause_s)
    retryable = status in _PASSING_STATUS or status >= 500
    return SpeakerError(message, status=status, retryable=retryable, retry_after_s=pause_s)


def _what_to_change(error: openai.APIStatusError) -> str | None:
    """What a person has to do before any request is answered; None where another may be."""
    status, code = error.status_code, error.code
    if status in _KEY_STATUS and code != _FILTER_CODE:
        return "its key is refused: check the environment variable or file that holds it, and what it may use"
    if status in _PLACE_STATUS or 300 <= status < 400:
        return "check its url and model"
    if status == _NO_MONEY_STATUS or code in _NO_MONEY_CODES:
        return "its account has nothing left: see to it, then resume the run"
    if status == 400 and code in _UNSUPPORTED_CODES:
        if error.param == "max_tokens":
            return "set max_tokens_field: max_completion_tokens"
        return f"name {error.param or 'the field'} under omit, or leave it out of extra_body"
    return None


def _is_context_full(error: openai.APIError) -> bool:
    texts = _said(error).lower()
    return bool({error.code, error.type} & _CONTEXT_CODES) or any(text in texts for text in _CONTEXT_TEXTS)


def _said(error: openai.APIError) -> str:
    """The API's own words, where it gives them as OpenAI does; else what the SDK made of its answer."""
    body: Any = error.body
    message = body.get("message") if isinstance(body, Mapping) else None
    return message if isinstance(message, str) else error.message


def _shown(text: str, key: str) -> str:
    hidden = text.replace(key, "***") if len(key) > 4 else text
    return " ".join(hidden.split())[:_TEXT_CHARS]
