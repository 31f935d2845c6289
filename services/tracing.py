"""Traces of conversations: spans with ids, counts and reasons, never a text. Off unless an endpoint is set.

While off, nothing of OpenTelemetry is imported and a span is one object that does nothing.
"""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings

ATTRIBUTES = frozenset(
    {
        "run_id", "conversation_id", "index", "attempts", "termination_reason", "num_turns",
        "turn_index", "side", "replica", "finish_reason", "num_tokens", "num_prompt_tokens", "num_cached_tokens",
        "worker", "num_claims", "num_records", "size_bytes",
    }
)  # fmt: skip
"""All that a span may tell; in a trace each stands under `platolm.`."""


class TracingSettings(BaseSettings):
    """What a process with traces can be told; its own settings build on these."""

    otlp_endpoint: str | None = Field(
        None,
        description="where traces go, an OpenTelemetry collector's OTLP/HTTP URL (http://host:4318); none: no traces",
    )
    trace_ratio: float = Field(1.0, ge=0, le=1, description="share of conversations that are traced")

    @field_validator("otlp_endpoint")
    @classmethod
    def _is_http(cls, url: str | None) -> str | None:
        if not url:
            return None
        if not url.startswith(("http://", "https://")):
            raise ValueError("an OTLP endpoint begins with http:// or https://")
        return url


class Span(Protocol):
    """Something that takes time; it begins where it is made and ends where its `with` ends.

    An exception that passes through is noted by its class alone.
    """

    def __enter__(self) -> Self: ...
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...
    def tell(self, **attributes: str | int | float) -> None:
        """Note what became known; names are of `ATTRIBUTES`."""
        ...

    def forget(self) -> None:
        """Nothing happened worth a span."""
        ...


class ConversationSpan(Span, Protocol):
    """A worker's time with one conversation."""

    def utterance(self, side: str, turn_index: int) -> Span:
        """One utterance of it, retries included."""
        ...


class Tracing(Protocol):
    """Makes spans."""

    def conversation(self, run_id: str, conversation_id: str, index: int) -> ConversationSpan:
        """The root of a trace whose id follows from the conversation's: all its workers' spans are in one trace."""
        ...

    def claim(self, worker: str) -> Span:
        """Asking the queue for work; `forget` it where there was none."""
        ...

    def segment(self, run_id: str) -> Span:
        """Writing a segment and committing it."""
        ...

    def close(self) -> None:
        """Send what waits, for at most some seconds; blocks."""
        ...


def tracer(settings: TracingSettings, *, service: str) -> Tracing:
    """Traces to the endpoint that is set, under the service name `platolm-SERVICE`; otherwise none."""
    if settings.otlp_endpoint is None:
        return NO_TRACING
    from services.otlp import tracing_to

    return tracing_to(settings.otlp_endpoint, service=service, ratio=settings.trace_ratio)


class _NoSpan:
    """A span, and a conversation's span, that is not recorded."""

    __slots__ = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def tell(self, **attributes: str | int | float) -> None:
        return None

    def forget(self) -> None:
        return None

    def utterance(self, side: str, turn_index: int) -> Span:
        return self


class _NoTracing:
    __slots__ = ()

    def conversation(self, run_id: str, conversation_id: str, index: int) -> ConversationSpan:
        return NO_SPAN

    def claim(self, worker: str) -> Span:
        return NO_SPAN

    def segment(self, run_id: str) -> Span:
        return NO_SPAN

    def close(self) -> None:
        return None


NO_SPAN = _NoSpan()
NO_TRACING = _NoTracing()
