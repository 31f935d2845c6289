"""Spans of conversations: nothing while off, ids and counts while on, and a real collector that reads them."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import ValidationError
from pydantic_settings import SettingsConfigDict

from services.otlp import OtlpTracing, trace_id_of, tracing_to
from services.tracing import ATTRIBUTES, NO_SPAN, NO_TRACING, Tracing, TracingSettings, tracer

REFERENCE = Path(__file__).parents[3] / "docs" / "metrics.md"


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def tracing(exporter: InMemorySpanExporter) -> OtlpTracing:
    return OtlpTracing(SimpleSpanProcessor(exporter), service="worker", ratio=1.0)


def say_twice(tracing: Tracing, conversation_id: str = "run-a-00000007") -> None:
    """A conversation of two utterances, as a worker traces it."""
    with tracing.conversation("run-a", conversation_id, 7) as conversation:
        for turn_index, side in enumerate(("simulator", "respondent")):
            with conversation.utterance(side, turn_index) as utterance:
                utterance.tell(num_tokens=5, finish_reason="stop")
        conversation.tell(termination_reason="turn_limit")


def facts(span: ReadableSpan) -> dict[str, object]:
    return {name.removeprefix("platolm."): value for name, value in (span.attributes or {}).items()}


# off


def test_without_an_endpoint_there_is_no_tracing() -> None:
    tracing = tracer(TracingSettings(otlp_endpoint=None), service="worker")
    assert tracing is NO_TRACING
    assert tracing.conversation("run-a", "run-a-00000000", 0) is NO_SPAN
    assert NO_SPAN.utterance("simulator", 0) is NO_SPAN
    say_twice(tracing)
    with tracing.claim("worker-a") as claim, tracing.segment("run-a"):
        claim.forget()
    tracing.close()


def test_a_span_that_is_off_lets_errors_pass() -> None:
    with pytest.raises(KeyError), NO_TRACING.segment("run-a"):
        raise KeyError


def test_off_imports_nothing_of_opentelemetry() -> None:
    code = """
import json, sys
from services.tracing import TracingSettings, tracer
with tracer(TracingSettings(), service="worker").conversation("r", "r-00000000", 0) as span:
    span.utterance("simulator", 0)
print(json.dumps([name for name in sys.modules if name.startswith("opentelemetry")]))
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(result.stdout) == []


# settings


class _WorkerSettings(TracingSettings):
    model_config = SettingsConfigDict(env_prefix="PLATOLM_WORKER_", extra="ignore")


def test_settings_come_with_the_prefix_of_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATOLM_WORKER_OTLP_ENDPOINT", "http://collector:4318")
    monkeypatch.setenv("PLATOLM_WORKER_TRACE_RATIO", "0.25")
    settings = _WorkerSettings()
    assert (settings.otlp_endpoint, settings.trace_ratio) == ("http://collector:4318", 0.25)


def test_an_empty_endpoint_is_none() -> None:
    assert TracingSettings(otlp_endpoint="").otlp_endpoint is None


@pytest.mark.parametrize("bad", [{"otlp_endpoint": "collector:4318"}, {"trace_ratio": 1.5}, {"trace_ratio": -0.1}])
def test_settings_that_cannot_be(bad: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        TracingSettings.model_validate(bad)


# on


def test_utterances_lie_below_their_conversation(tracing: OtlpTracing, exporter: InMemorySpanExporter) -> None:
    say_twice(tracing)
    first, second, root = exporter.get_finished_spans()
    assert [span.name for span in (first, second, root)] == ["utterance", "utterance", "conversation"]
    assert root.parent is None
    assert root.context is not None
    assert root.context.trace_id == trace_id_of("run-a-00000007")
    for span in (first, second):
        assert span.parent == root.context
        assert span.kind is SpanKind.CLIENT
    assert facts(root) == {
        "run_id": "run-a", "conversation_id": "run-a-00000007", "index": 7, "termination_reason": "turn_limit"
    }  # fmt: skip
    assert facts(second) == {"side": "respondent", "turn_index": 1, "num_tokens": 5, "finish_reason": "stop"}
    assert root.resource.attributes["service.name"] == "platolm-worker"


async def test_conversations_that_are_carried_at_once_do_not_mix(
    tracing: OtlpTracing, exporter: InMemorySpanExporter
) -> None:
    ids = [f"run-a-{index:08d}" for index in range(20)]
    all_began = asyncio.Barrier(len(ids))

    async def carry(conversation_id: str) -> None:
        with tracing.conversation("run-a", conversation_id, 0) as conversation:
            await all_began.wait()
            with conversation.utterance("simulator", 0):
                await all_began.wait()

    await asyncio.gather(*map(carry, ids))
    spans = exporter.get_finished_spans()
    roots = {span.context.span_id: span for span in spans if span.name == "conversation" and span.context}
    assert {root.context.trace_id for root in roots.values() if root.context} == set(map(trace_id_of, ids))
    utterances = [span for span in spans if span.name == "utterance"]
    assert len(utterances) == len(ids)
    for utterance in utterances:
        assert utterance.parent
        assert utterance.context
        assert utterance.parent.trace_id == utterance.context.trace_id
    assert {utterance.parent.span_id for utterance in utterances if utterance.parent} == set(roots)


def test_two_workers_of_a_conversation_write_one_trace(tracing: OtlpTracing, exporter: InMemorySpanExporter) -> None:
    say_twice(tracing)
    say_twice(OtlpTracing(SimpleSpanProcessor(exporter), service="worker", ratio=1.0))
    spans = exporter.get_finished_spans()
    assert len(spans) == 6
    assert {span.context.trace_id for span in spans if span.context} == {trace_id_of("run-a-00000007")}


def test_a_chosen_trace_id_is_used_once(tracing: OtlpTracing, exporter: InMemorySpanExporter) -> None:
    with tracing.conversation("run-a", "run-a-00000000", 0):
        pass
    with tracing.segment("run-a") as segment:
        segment.tell(num_records=512, size_bytes=1000)
    conversation, written = exporter.get_finished_spans()
    assert conversation.context
    assert written.context
    assert conversation.context.trace_id != written.context.trace_id
    assert facts(written) == {"run_id": "run-a", "num_records": 512, "size_bytes": 1000}


def test_of_an_error_there_is_its_class_and_no_word(tracing: OtlpTracing, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="soup"), tracing.segment("run-a"):
        raise ValueError("soup: what somebody said")
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.ERROR
    assert facts(span) == {"run_id": "run-a", "error.type": "ValueError"}
    assert "soup" not in span.to_json()


def test_a_cancelled_conversation_is_no_error(tracing: OtlpTracing, exporter: InMemorySpanExporter) -> None:
    with pytest.raises(asyncio.CancelledError), tracing.conversation("run-a", "run-a-00000000", 0):
        raise asyncio.CancelledError
    (span,) = exporter.get_finished_spans()
    assert span.status.status_code is StatusCode.UNSET
    assert facts(span)["error.type"] == "CancelledError"


def test_a_claim_that_got_nothing_leaves_no_span(tracing: OtlpTracing, exporter: InMemorySpanExporter) -> None:
    for num_claims in (0, 3):
        with tracing.claim("worker-a") as claim:
            if num_claims:
                claim.tell(num_claims=num_claims)
            else:
                claim.forget()
    (span,) = exporter.get_finished_spans()
    assert facts(span) == {"worker": "worker-a", "num_claims": 3}


def test_nothing_but_ids_and_counts_can_be_told(tracing: OtlpTracing) -> None:
    with pytest.raises(AssertionError, match="content"), tracing.segment("run-a") as segment:
        segment.tell(content="what somebody said")


def test_a_ratio_keeps_whole_conversations_and_the_same_ones_everywhere() -> None:
    kept: list[set[int]] = []
    for _ in range(2):
        exporter = InMemorySpanExporter()
        tracing = OtlpTracing(SimpleSpanProcessor(exporter), service="worker", ratio=0.25)
        for index in range(400):
            say_twice(tracing, f"run-a-{index:08d}")
        spans = exporter.get_finished_spans()
        kept.append({span.context.trace_id for span in spans if span.context})
        assert len(spans) == 3 * len(kept[-1])
    assert kept[0] == kept[1]
    assert 60 < len(kept[0]) < 140


def test_the_reference_names_every_attribute_and_no_other() -> None:
    text = REFERENCE.read_text(encoding="utf-8").partition("\n## Traces\n")[2]
    rows = [line.strip("| ").split("|") for line in text.splitlines() if line.startswith("| `")]
    assert {name.strip(" `") for name, _, _ in rows} == {"conversation", "utterance", "claim", "segment"}
    assert {attribute.strip() for *_, told in rows for attribute in told.split(",")} == ATTRIBUTES


# over HTTP


@asynccontextmanager
async def collector(received: list[ExportTraceServiceRequest]) -> AsyncIterator[str]:
    """An OTLP/HTTP receiver that decodes what it is sent; gives its URL."""

    async def take(request: web.Request) -> web.Response:
        assert request.content_type == "application/x-protobuf"
        received.append(ExportTraceServiceRequest.FromString(await request.read()))
        return web.Response(body=b"", content_type="application/x-protobuf")

    app = web.Application()
    app.add_routes([web.post("/v1/traces", take)])
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


@pytest.mark.parametrize("path", ["", "/", "/v1/traces"])
async def test_a_collector_receives_the_spans(path: str) -> None:
    received: list[ExportTraceServiceRequest] = []
    async with collector(received) as url:
        tracing = tracer(TracingSettings(otlp_endpoint=url + path), service="worker")
        say_twice(tracing)
        await asyncio.to_thread(tracing.close)
    (request,) = received
    (resource,) = request.resource_spans
    assert {"service.name": "platolm-worker"}.items() <= {
        attribute.key: attribute.value.string_value for attribute in resource.resource.attributes
    }.items()
    (scope,) = resource.scope_spans
    assert sorted(span.name for span in scope.spans) == ["conversation", "utterance", "utterance"]
    assert {span.trace_id for span in scope.spans} == {trace_id_of("run-a-00000007").to_bytes(16, "big")}


async def test_spans_are_sent_together() -> None:
    received: list[ExportTraceServiceRequest] = []
    async with collector(received) as url:
        tracing = tracing_to(url, service="worker", ratio=1.0)
        for index in range(100):
            say_twice(tracing, f"run-a-{index:08d}")
        await asyncio.to_thread(tracing.close)
    assert (
        sum(len(scope.spans) for request in received for r in request.resource_spans for scope in r.scope_spans) == 300
    )
    assert len(received) == 1
