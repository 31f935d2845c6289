"""Spans over OpenTelemetry, sent in batches by a thread of their own; imported only where traces are on."""

from __future__ import annotations

import asyncio
import hashlib
from types import TracebackType
from typing import Self

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import Span as OtelSpan
from opentelemetry.trace import SpanKind, StatusCode, set_span_in_context

from platolm import __version__
from services.tracing import ATTRIBUTES, NO_SPAN, ConversationSpan, Span, Tracing

SEND_TIMEOUT_S = 5.0
TRACES_PATH = "/v1/traces"

_ROOT = Context()


def tracing_to(endpoint: str, *, service: str, ratio: float) -> Tracing:
    """Traces to an OTLP/HTTP collector; when it is away or too slow spans are dropped, nothing waits for it."""
    url = endpoint.rstrip("/").removesuffix(TRACES_PATH) + TRACES_PATH
    exporter = OTLPSpanExporter(endpoint=url, timeout=SEND_TIMEOUT_S)
    return OtlpTracing(BatchSpanProcessor(exporter), service=service, ratio=ratio)


def trace_id_of(conversation_id: str) -> int:
    """The 128 bits under which every worker traces a conversation, so that it is sampled everywhere or nowhere."""
    return int.from_bytes(hashlib.blake2b(conversation_id.encode(), digest_size=16).digest(), "big")


class OtlpTracing:
    """Spans of `ratio` of the conversations, and of as many claims and segments, given to `processor`."""

    def __init__(self, processor: SpanProcessor, *, service: str, ratio: float) -> None:
        self._ids = _ChosenIds()
        self._provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(ratio)),
            resource=Resource.create({SERVICE_NAME: f"platolm-{service}", SERVICE_VERSION: __version__}),
            id_generator=self._ids,
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("platolm", __version__)

    def conversation(self, run_id: str, conversation_id: str, index: int) -> ConversationSpan:
        self._ids.next_trace_id = trace_id_of(conversation_id)
        span = self._start("conversation")
        span.tell(run_id=run_id, conversation_id=conversation_id, index=index)
        return span

    def claim(self, worker: str) -> Span:
        span = self._start("claim")
        span.tell(worker=worker)
        return span

    def segment(self, run_id: str) -> Span:
        span = self._start("segment")
        span.tell(run_id=run_id)
        return span

    def close(self) -> None:
        self._provider.shutdown()

    def _start(self, name: str, parent: OtelSpan | None = None) -> ConversationSpan:
        """A span, or the one that does nothing where this trace is not sampled."""
        context = _ROOT if parent is None else set_span_in_context(parent, _ROOT)
        kind = SpanKind.INTERNAL if parent is None else SpanKind.CLIENT
        span = self._tracer.start_span(name, context=context, kind=kind)
        return _RecordedSpan(span, self) if span.is_recording() else NO_SPAN

    def start_below(self, parent: OtelSpan, name: str) -> Span:
        return self._start(name, parent)


class _RecordedSpan:
    __slots__ = ("_is_forgotten", "_span", "_tracing")

    def __init__(self, span: OtelSpan, tracing: OtlpTracing) -> None:
        self._span = span
        self._tracing = tracing
        self._is_forgotten = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._is_forgotten:
            return  # a span that does not end is never sent
        if kind is not None:
            self._span.set_attribute("error.type", kind.__name__)
            if not issubclass(kind, asyncio.CancelledError):
                self._span.set_status(StatusCode.ERROR)
        self._span.end()

    def tell(self, **attributes: str | int | float) -> None:
        assert attributes.keys() <= ATTRIBUTES, f"not in a trace: {sorted(attributes.keys() - ATTRIBUTES)}"
        self._span.set_attributes({f"platolm.{name}": value for name, value in attributes.items()})

    def forget(self) -> None:
        self._is_forgotten = True

    def utterance(self, side: str, turn_index: int) -> Span:
        span = self._tracing.start_below(self._span, "utterance")
        span.tell(side=side, turn_index=turn_index)
        return span


class _ChosenIds(RandomIdGenerator):
    """Random ids, but the trace id that was set for the next root; it is asked for within `start_span`."""

    next_trace_id: int | None = None

    def generate_trace_id(self) -> int:
        chosen, self.next_trace_id = self.next_trace_id, None
        return super().generate_trace_id() if chosen is None else chosen
