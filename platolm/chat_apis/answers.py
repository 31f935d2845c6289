"""A chat API's answer: whole, or put together from its stream."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from platolm.chat_apis.prices import Usage
from platolm.errors import SpeakerError

BYTES_A_TOKEN = 3.0
"""Of a text whose tokens nobody has counted; English has four, other languages and code fewer."""
MESSAGE_TOKENS = 6
"""What a chat template puts around a message, about."""

_FILTERED = "content_filter"


@dataclass(frozen=True)
class ChatAnswer:
    """What was said; `usage` is None where the API does not tell, `duration_s` from sending to the end."""

    content: str
    finish_reason: str | None
    usage: Usage | None
    duration_s: float = 0.0


def answer_of(body: Any, name: str) -> ChatAnswer:
    """The first choice in an API's JSON; `name` is the endpoint's in errors.

    Raises:
        SpeakerError: it is no chat completion; retryable. Or the API's filter has kept it back.
    """
    try:
        choice = body["choices"][0]
        message = choice["message"]
        content, refusal, finish_reason = message.get("content"), message.get("refusal"), choice.get("finish_reason")
        usage = usage_of(body.get("usage"))
    except (KeyError, IndexError, TypeError, AttributeError) as error:
        raise _no_answer(name, error) from error
    if finish_reason == _FILTERED:
        raise _filtered(name)
    return ChatAnswer(_text(content, name) or _text(refusal, name), finish_reason, usage)


class StreamedAnswer:
    """An answer that comes in chunks; `content` is what was said so far."""

    def __init__(self, name: str) -> None:
        self.content = ""
        self._name = name
        self._refusal = ""
        self._finish_reason: str | None = None
        self._usage: Usage | None = None

    def feed(self, chunk: Any) -> bool:
        """Take in a chunk; gives whether more was said.

        Raises:
            SpeakerError: as `answer_of`.
        """
        said = self.content
        try:
            self._usage = usage_of(chunk.get("usage")) or self._usage
            for choice in (chunk.get("choices") or [])[:1]:
                delta = choice.get("delta") or {}
                self.content += _text(delta.get("content"), self._name)
                self._refusal += _text(delta.get("refusal"), self._name)
                self._finish_reason = choice.get("finish_reason") or self._finish_reason
        except (TypeError, AttributeError, KeyError) as error:
            raise _no_answer(self._name, error) from error
        if self._finish_reason == _FILTERED:
            raise _filtered(self._name)
        return self.content != said

    def whole(self) -> ChatAnswer:
        """What it comes to, once the stream has ended.

        Raises:
            SpeakerError: it ended too early; retryable.
        """
        if self._finish_reason is None:
            raise SpeakerError(f"{self._name} stopped in the middle of an utterance", retryable=True)
        return ChatAnswer(self.content or self._refusal, self._finish_reason, self._usage)


def usage_of(usage: Any) -> Usage | None:
    """An API's count of a request's tokens; None where it gives none."""
    if not isinstance(usage, Mapping):
        return None
    prompt, generated = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
    if prompt is None or generated is None:
        return None
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, Mapping) else None
    return Usage(prompt, generated, cached or 0)


def estimated_tokens(text: str) -> int:
    """About how many tokens a text has, rather too many than too few."""
    return math.ceil(len(text.encode("utf-8", "replace")) / BYTES_A_TOKEN)


def estimated_prompt_tokens(messages: Sequence[Mapping[str, str]]) -> int:
    """About how many tokens messages have with their template."""
    return MESSAGE_TOKENS + sum(MESSAGE_TOKENS + estimated_tokens(message["content"]) for message in messages)


def _text(value: Any, name: str) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise _no_answer(name, TypeError("its content is no text"))
    return value


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _no_answer(name: str, error: Exception) -> SpeakerError:
    return SpeakerError(f"{name} gave no chat completion: {error!r}", retryable=True)


def _filtered(name: str) -> SpeakerError:
    return SpeakerError(f"{name} kept an answer back: its content filter found it unfit")
