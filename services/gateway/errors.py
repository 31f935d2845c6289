"""Errors of a model server: those that end the process, and those that answer a request.

StartError             the server cannot start, or its engine died; carries the exit code
RequestError           an answer in OpenAI's error shape; carries status, type and code
ClientGoneError             the client closed the connection; there is no one to answer
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

MISUSE = 2
FAILURE = 1
NO_ROOM = "context_length_exceeded"
"""The code of a conversation that fills the model's context."""


class StartError(Exception):
    """The server cannot start; its text is one line that says what to do."""

    def __init__(self, message: str, *, exit_code: int = FAILURE, log_tail: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.exit_code = exit_code
        self.log_tail = tuple(log_tail)


class ClientGoneError(Exception):
    """The client closed the connection before its answer was ready."""


class RequestError(Exception):
    """A refusal with an HTTP status, in the shape that OpenAI's clients read."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
        retry_after_s: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    @property
    def body(self) -> dict[str, Any]:
        return {"error": {"message": self.message, "type": self.kind, "param": self.param, "code": self.code}}

    @property
    def headers(self) -> dict[str, str]:
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


def unavailable(message: str, *, code: str, retry_after_s: int = 5) -> RequestError:
    """503: not now; clients may ask again."""
    return RequestError(503, message, kind="server_error", code=code, retry_after_s=retry_after_s)


def context_length_exceeded(num_prompt_tokens: int, limit: int) -> RequestError:
    """400: the prompt leaves no room for a single new token."""
    return RequestError(
        400,
        f"This model's context is {limit} tokens and the conversation takes {num_prompt_tokens}: "
        "there is no room for another turn. Shorten the conversation.",
        code=NO_ROOM,
        param="messages",
    )
