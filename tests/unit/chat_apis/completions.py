"""What a chat API answers, as plain data."""

from __future__ import annotations

from typing import Any


def completion(content: str | None, finish_reason: str = "stop", **usage: Any) -> dict[str, Any]:
    """A whole answer; without `usage` the API does not count."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": finish_reason}
    told = {"usage": usage} if usage else {}
    return {"id": "1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], **told}


def used(prompt: int, generated: int, cached: int | None = None) -> dict[str, Any]:
    """An API's count."""
    details = {} if cached is None else {"prompt_tokens_details": {"cached_tokens": cached}}
    return {"prompt_tokens": prompt, "completion_tokens": generated, "total_tokens": prompt + generated, **details}
