"""An engine's answer to a request for completion: whole, or as it comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from platolm.errors import MisconfiguredError, SpeakerError

_ABORTED = "abort"  # vLLM's reason for a request that it ended itself
_ERROR_TEXT_CHARS = 300
_RETRYABLE_STATUS = frozenset({408, 409, 425, 429})
_MISCONFIGURED_STATUS = frozenset({401, 403, 404, 405})
_DATA = b"data:"
_DONE = b"[DONE]"


@dataclass(frozen=True, slots=True)
class Completion:
    """The first choice of a text completion; `token_ids` include the eos where it was generated.

    `top_logprobs` has for each of them the likeliest tokens by their text, where the request asked for `logprobs`.
    """

    token_ids: list[int]
    finish_reason: str | None
    num_cached_tokens: int | None
    top_logprobs: list[dict[str, float]] | None = None


def completion_of(answer: Any, url: str) -> Completion:
    """The completion in an engine's JSON; `url` names the engine in errors.

    Raises:
        MisconfiguredError: it has no token ids.
        SpeakerError: it is no completion, or one that the engine ended itself; retryable.
    """
    try:
        choice = answer["choices"][0]
        finish_reason, ids = choice.get("finish_reason"), choice.get("token_ids")
        num_cached = _num_cached(answer)
        likeliest = top_logprobs(choice)
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise SpeakerError(f"{url} gave no completion: {error!r}", retryable=True) from error
    if finish_reason == _ABORTED:
        raise _stopped(url)
    return Completion(_checked_ids(ids, url), finish_reason, num_cached, likeliest)


class StreamedCompletion:
    """A completion that comes as server-sent events (`stream: true`, with `include_usage`), put together again."""

    def __init__(self, url: str) -> None:
        self.token_ids: list[int] = []
        self._url = url
        self._finish_reason: str | None = None
        self._num_cached: int | None = None
        self._likeliest: list[dict[str, float]] | None = None
        self._is_done = False
        self._rest = bytearray()

    def feed(self, content: bytes) -> list[int]:
        """Take in bytes as they came; gives the ids that are new.

        Raises:
            MisconfiguredError: there are no token ids.
            SpeakerError: they are no completion, or the engine tells of an error, with its status.
        """
        self._rest += content
        if b"\n" not in content:
            return []
        *lines, rest = bytes(self._rest).split(b"\n")
        self._rest = bytearray(rest)
        num_ids = len(self.token_ids)
        for line in lines:
            if line.startswith(_DATA):
                self._take(line.removeprefix(_DATA).strip())
        return self.token_ids[num_ids:]

    def whole(self) -> Completion:
        """What it comes to, once the stream has ended.

        Raises:
            SpeakerError: it ended too early; retryable.
        """
        if not self._is_done or self._finish_reason is None:
            raise _stopped(self._url)
        return Completion(self.token_ids, self._finish_reason, self._num_cached, self._likeliest)

    def _take(self, data: bytes) -> None:
        if data == _DONE:
            self._is_done = True
            return
        try:
            event = orjson.loads(data)
            error = event.get("error")
            choices = event["choices"] if error is None else []
            new_ids = [choice.get("token_ids") for choice in choices[:1]]
            finish_reason = choices[0].get("finish_reason") if choices else None
            num_cached = _num_cached(event)
            likeliest = top_logprobs(choices[0]) if choices else None
        except (ValueError, KeyError, TypeError, AttributeError) as problem:
            raise SpeakerError(f"{self._url} gave no completion: {problem!r}", retryable=True) from problem
        if error is not None:
            raise _error_in(error, self._url)
        if finish_reason == _ABORTED:
            raise _stopped(self._url)
        for ids in new_ids:
            self.token_ids += _checked_ids(ids, self._url)
        if likeliest is not None:
            self._likeliest = [*(self._likeliest or []), *likeliest]
        self._finish_reason = finish_reason or self._finish_reason
        self._num_cached = num_cached if num_cached is not None else self._num_cached


def refusal(url: str, status: int, content: bytes, retry_after_s: float | None = None) -> SpeakerError:
    """An answer that is an error, by its status."""
    text = content[:_ERROR_TEXT_CHARS].decode("utf-8", "replace")
    message = f"{url} answered {status}: {' '.join(text.split())}"
    if status in _MISCONFIGURED_STATUS or 300 <= status < 400:
        return MisconfiguredError(message, status=status)
    retryable = status in _RETRYABLE_STATUS or status >= 500
    return SpeakerError(message, status=status, retryable=retryable, retry_after_s=retry_after_s)


def _error_in(error: Any, url: str) -> SpeakerError:
    """vLLM finds some mistakes only after it has said 200; the event carries the status that it meant."""
    code = error.get("code") if isinstance(error, dict) else None
    return refusal(url, code if isinstance(code, int) else 500, orjson.dumps(error))


def _num_cached(answer: Any) -> int | None:
    num_cached = ((answer.get("usage") or {}).get("prompt_tokens_details") or {}).get("cached_tokens")
    return num_cached if isinstance(num_cached, int) and num_cached >= 0 else None


def top_logprobs(choice: Any) -> list[dict[str, float]] | None:
    """For each token of a choice the likeliest in its place, by their text; None: they were not asked for."""
    likeliest = (choice.get("logprobs") or {}).get("top_logprobs")
    return None if likeliest is None else [position or {} for position in likeliest]


def _checked_ids(ids: Any, url: str) -> list[int]:
    if not isinstance(ids, list):
        raise MisconfiguredError(f"{url} returns no token ids; it must be vLLM 0.10 or later")
    return ids


def _stopped(url: str) -> SpeakerError:
    return SpeakerError(f"{url} stopped in the middle of an utterance", retryable=True)
