"""The metrics of worker, writer and API, and that docs/metrics.md names each of them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import aiohttp
import httpx
import pytest
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from redis.asyncio import Redis
from starlette.requests import ClientDisconnect
from starlette.types import Message

from platolm.conversation import TerminationReason
from platolm.endings import FinishReason
from platolm.errors import MisconfiguredError, SpeakerError
from platolm.runs import RealismProgress, RunState
from platolm.simulators.guardrails import Fault
from platolm.utterances import Utterance
from services.orchestrator.health import HealthServer
from services.orchestrator.metrics import api
from services.orchestrator.metrics.api import ApiMetrics, RunCollector
from services.orchestrator.metrics.http import CountRequests, HttpMetrics
from services.orchestrator.metrics.registry import exposition, process_registry
from services.orchestrator.metrics.replicas import ReplicaReading, replica_label
from services.orchestrator.metrics.survey import RunCounts, Survey
from services.orchestrator.metrics.worker import RetryCause, WorkerMetrics
from services.orchestrator.metrics.writer import WriterMetrics
from services.orchestrator.queue import Queue
from tests.redis_server import free_port

REFERENCE = Path(__file__).parents[3] / "docs" / "metrics.md"

UTTERANCE = Utterance("Soup.", [1, 2, 3], 500, FinishReason.STOP, 0.3, 400)
REPLICA = ReplicaReading(
    "simulator", "http://e1:8000/v1", True, budget_tokens=4096, num_asked=3, num_running=2, num_waiting=1
)
RUN = RunCounts(
    state=RunState.RUNNING,
    num_unfed=100,
    num_fed=50,
    num_queued=7,
    num_in_flight=3,
    num_finished=2,
    num_committed=36,
    num_dead=2,
    num_utterances=400,
    generated_tokens=9000,
    realism=RealismProgress(
        conversations=36, figures={"rounds": 3.5, "repeats": 0.25}, out_of_bounds={"repeats": "too many"}
    ),
)
SURVEY = Survey({RunState.RUNNING: 1, RunState.COMPLETED: 4}, {"run-a": RUN}, 2, {"http://e1:8000/v1": 640})


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


def series(registry: CollectorRegistry, prefix: str = "platolm_") -> dict[str, float]:
    """Every sample that is not 0, under its name with its labels, as Prometheus would read them."""
    lines = (line for line in exposition(registry).decode().splitlines() if line.startswith(prefix))
    samples = {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}
    return {name: value for name, value in samples.items() if value}


# the worker


def test_an_utterance_counts_on_its_side(registry: CollectorRegistry) -> None:
    WorkerMetrics(registry).spoken("simulator", UTTERANCE, 384)
    found = series(registry)
    buckets = {name: found.pop(name) for name in list(found) if "_bucket" in name}
    assert found == {
        'platolm_utterances_total{finish_reason="stop",side="simulator"}': 1,
        'platolm_utterance_seconds_count{side="simulator"}': 1,
        'platolm_utterance_seconds_sum{side="simulator"}': 0.3,
        'platolm_generated_tokens_total{side="simulator"}': 3,
        'platolm_prompt_tokens_total{side="simulator"}': 500,
        'platolm_cached_prompt_tokens_total{side="simulator"}': 400,
        'platolm_attained_cached_tokens_total{side="simulator"}': 384,
        'platolm_attainable_cached_tokens_total{side="simulator"}': 384,
    }
    assert 'platolm_utterance_seconds_bucket{le="0.25",side="simulator"}' not in buckets
    assert buckets['platolm_utterance_seconds_bucket{le="0.5",side="simulator"}'] == 1


def test_a_miss_lowers_the_hit_ratio(registry: CollectorRegistry) -> None:
    metrics = WorkerMetrics(registry)
    metrics.spoken("respondent", replace(UTTERANCE, num_cached_tokens=0), 128)
    metrics.spoken("respondent", replace(UTTERANCE, num_cached_tokens=128), 128)
    found = series(registry)
    assert found['platolm_attained_cached_tokens_total{side="respondent"}'] == 128
    assert found['platolm_attainable_cached_tokens_total{side="respondent"}'] == 256


def test_an_engine_that_does_not_tell_its_hits_is_on_neither_side_of_the_ratio(registry: CollectorRegistry) -> None:
    WorkerMetrics(registry).spoken("simulator", replace(UTTERANCE, num_cached_tokens=None), 384)
    assert not [name for name in series(registry) if "cached" in name]


@pytest.mark.parametrize("reason", [reason for reason in FinishReason if reason is not FinishReason.SEED])
def test_every_finish_reason_of_an_engine_counts(registry: CollectorRegistry, reason: FinishReason) -> None:
    WorkerMetrics(registry).spoken("simulator", replace(UTTERANCE, finish_reason=reason), 0)
    assert series(registry)[f'platolm_utterances_total{{finish_reason="{reason.value}",side="simulator"}}'] == 1


def test_what_happens_to_conversations(registry: CollectorRegistry) -> None:
    metrics = WorkerMetrics(registry)
    for reason in TerminationReason:
        metrics.ended(reason.value)
    metrics.failed(dead=False)
    metrics.failed(dead=True)
    metrics.claimed(5)
    metrics.claims_lost(2)
    metrics.reclaimed(3)
    metrics.redis_away()
    metrics.retried("respondent", RetryCause.BUSY)
    metrics.faulty("simulator", Fault.REPEATED)
    assert series(registry) == {
        **{f'platolm_conversations_ended_total{{reason="{reason.value}"}}': 1 for reason in TerminationReason},
        'platolm_utterance_faults_total{fault="repeated",side="simulator"}': 1,
        "platolm_attempts_failed_total": 2,
        "platolm_conversations_dead_total": 1,
        "platolm_claims_total": 5,
        "platolm_claims_lost_total": 2,
        "platolm_reclaims_total": 3,
        "platolm_redis_away_total": 1,
        'platolm_utterance_retries_total{cause="busy",side="respondent"}': 1,
    }


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (SpeakerError("no connection", retryable=True), RetryCause.NO_ANSWER),
        (SpeakerError("", status=408), RetryCause.BUSY),
        (SpeakerError("", status=429), RetryCause.BUSY),
        (SpeakerError("", status=503), RetryCause.BUSY),
        (SpeakerError("", status=500), RetryCause.SERVER_ERROR),
        (SpeakerError("", status=400), RetryCause.REFUSED),
        (MisconfiguredError("another model", status=404), RetryCause.MISCONFIGURED),
    ],
)
def test_the_cause_of_a_failure(error: SpeakerError, cause: RetryCause) -> None:
    assert RetryCause.of(error) is cause


def test_what_is_in_flight_is_asked_for_at_each_reading(registry: CollectorRegistry) -> None:
    owned = ["a", "b"]
    WorkerMetrics(registry).watch_in_flight(lambda: len(owned))
    assert series(registry) == {"platolm_worker_conversations_in_flight": 2}
    owned.clear()
    assert series(registry) == {}


def test_replicas_have_series_while_they_are_there(registry: CollectorRegistry) -> None:
    readings = [REPLICA, REPLICA, replace(REPLICA, side="respondent", is_usable=False)]
    WorkerMetrics(registry).watch_replicas(lambda: readings)
    text = exposition(registry).decode()
    assert 'platolm_replica_usable{replica="http://e1:8000/v1",side="respondent"} 0.0' in text
    assert text.count('platolm_replica_usable{replica="http://e1:8000/v1",side="simulator"} 1.0') == 1
    ours = series(registry, "platolm_replica")
    assert {name.partition("{")[0]: value for name, value in ours.items() if "simulator" in name} == {
        "platolm_replica_usable": 1,
        "platolm_replica_budget_tokens": 4096,
        "platolm_replica_asked": 3,
        "platolm_replica_running": 2,
        "platolm_replica_waiting": 1,
    }
    readings.clear()
    assert series(registry, "platolm_replica") == {}


def test_a_password_in_a_url_is_no_label() -> None:
    assert replica_label("https://me:word@engine:8000/v1") == "https://engine:8000/v1"


# the writer


def test_what_the_writer_counts(registry: CollectorRegistry) -> None:
    metrics = WriterMetrics(registry)
    problem: str | None = None
    metrics.watch_problem(lambda: problem)
    metrics.committed(num_records=512, size_bytes=10_000, seconds=0.2)
    found = {name: value for name, value in series(registry).items() if "bucket" not in name}
    assert found == {
        "platolm_writer_segments_total": 1,
        "platolm_writer_records_total": 512,
        "platolm_writer_bytes_total": 10_000,
        "platolm_writer_write_seconds_count": 1,
        "platolm_writer_write_seconds_sum": 0.2,
    }
    problem = "the disk is full"
    assert series(registry)["platolm_writer_problem"] == 1


# the API's runs


def test_a_survey_as_metrics(registry: CollectorRegistry) -> None:
    collector = RunCollector()
    registry.register(collector)
    assert series(registry) == {}
    collector.survey = SURVEY
    assert series(registry) == {
        "platolm_redis_up": 1,
        "platolm_workers": 2,
        "platolm_queue_depth": 7,
        "platolm_backlog": 107,
        'platolm_reserved_tokens{replica="http://e1:8000/v1"}': 640,
        'platolm_runs{state="running"}': 1,
        'platolm_runs{state="completed"}': 4,
        'platolm_run_conversations{run="run-a",state="unfed"}': 100,
        'platolm_run_conversations{run="run-a",state="queued"}': 7,
        'platolm_run_conversations{run="run-a",state="in_flight"}': 3,
        'platolm_run_conversations{run="run-a",state="finished"}': 2,
        'platolm_run_conversations{run="run-a",state="committed"}': 36,
        'platolm_run_conversations{run="run-a",state="dead"}': 2,
        'platolm_run_fed_total{run="run-a"}': 50,
        'platolm_run_utterances_total{run="run-a"}': 400,
        'platolm_run_generated_tokens_total{run="run-a"}': 9000,
        'platolm_realism{figure="rounds",run="run-a"}': 3.5,
        'platolm_realism{figure="repeats",run="run-a"}': 0.25,
        'platolm_realism_out_of_bounds{figure="repeats",run="run-a"}': 1,
    }


@pytest.mark.parametrize(
    ("run", "backlog"),
    [
        (RUN, 107),
        (replace(RUN, state=RunState.PAUSED), 0),
        (replace(RUN, state=RunState.CANCELLING), 0),
        (replace(RUN, most_in_flight=10), 7),
        (replace(RUN, most_in_flight=2), 0),
        (replace(RUN, num_unfed=0, num_queued=4, most_in_flight=10), 4),
    ],
)
def test_the_backlog_is_what_more_workers_could_begin(run: RunCounts, backlog: int) -> None:
    assert run.backlog == backlog


def test_urls_that_differ_in_their_password_share_a_series(registry: CollectorRegistry) -> None:
    collector = RunCollector()
    collector.survey = replace(SURVEY, reserved_tokens={"http://a:b@e1/v1": 5, "http://e1/v1": 6})
    registry.register(collector)
    assert series(registry)['platolm_reserved_tokens{replica="http://e1/v1"}'] == 11


async def test_while_redis_is_away_requests_are_still_shown() -> None:
    metrics = ApiMetrics()
    async with Redis.from_url(f"redis://127.0.0.1:{free_port()}/0", decode_responses=True) as redis:
        metrics.watch(redis, Queue(redis))
        text = (await metrics.exposition()).decode()
    assert "platolm_redis_up 0.0" in text
    assert "platolm_http_requests_in_flight 0.0" in text
    assert "platolm_workers" not in text


async def test_redis_is_read_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    readings = 0

    async def count_reading(*_: object) -> Survey:
        nonlocal readings
        readings += 1
        return SURVEY

    now = 100.0
    monkeypatch.setattr(api, "take_survey", count_reading)
    monkeypatch.setattr("services.orchestrator.metrics.api.time.monotonic", lambda: now)
    async with Redis.from_url("redis://127.0.0.1:1/0") as redis:
        metrics = ApiMetrics()
        metrics.watch(redis, Queue(redis))
        await asyncio.gather(*(metrics.exposition() for _ in range(5)))
        assert readings == 1
        now = 101.0
        assert b"platolm_redis_up 1.0" in await metrics.exposition()
    assert readings == 2


# the API's requests


@pytest.fixture
def app() -> FastAPI:
    metrics = ApiMetrics()
    inner = APIRouter(prefix="/runs")

    @inner.get("/{run_id}")
    async def run(run_id: str) -> str:
        if run_id == "bad":
            raise RuntimeError("made to fail")
        return run_id

    app = FastAPI()
    app.state.metrics = metrics
    app.add_middleware(CountRequests, metrics=metrics.http)
    app.include_router(inner, prefix="/v1")
    app.include_router(api.router)
    return app


async def ask(app: FastAPI, *paths: str, method: str = "GET") -> dict[str, float]:
    """Send requests, then give what was counted of them."""
    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        for path in paths:
            await client.request(method, path)
    metrics: ApiMetrics = app.state.metrics
    return series(metrics.registry, "platolm_http_requests_total")


async def test_requests_count_by_route_template(app: FastAPI) -> None:
    assert await ask(app, "/v1/runs/a", "/v1/runs/b", "/v1/runs/c/", "/x", "/y/z", "/v1/runs/bad") == {
        'platolm_http_requests_total{method="GET",route="/v1/runs/{run_id}",status="200"}': 2,
        'platolm_http_requests_total{method="GET",route="/v1/runs/{run_id}",status="500"}': 1,
        'platolm_http_requests_total{method="GET",route="unmatched",status="307"}': 1,
        'platolm_http_requests_total{method="GET",route="unmatched",status="404"}': 2,
    }


async def test_methods_that_clients_make_up_are_one(app: FastAPI) -> None:
    assert await ask(app, "/x", method="BREW") == {
        'platolm_http_requests_total{method="other",route="unmatched",status="404"}': 1
    }


async def test_metrics_are_served_as_prometheus_wants_them(app: FastAPI) -> None:
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        answer = await client.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=1.0.0; charset=utf-8"
    assert "platolm_http_requests_in_flight 1.0" in answer.text


@pytest.mark.parametrize("end", [asyncio.CancelledError, ClientDisconnect])
async def test_a_client_that_leaves_is_counted_as_such(registry: CollectorRegistry, end: type[BaseException]) -> None:
    async def cancelled(*_: object) -> None:
        raise end

    async def receive() -> Message:
        raise AssertionError("nothing reads the body")

    async def send(_: Message) -> None:
        raise AssertionError("nothing is answered")

    scope = {"type": "http", "method": "GET", "path": "/x"}
    with pytest.raises(end):
        await CountRequests(cancelled, metrics=HttpMetrics(registry))(scope, receive, send)
    assert series(registry) == {'platolm_http_requests_total{method="GET",route="unmatched",status="499"}': 1}


# the health server


class Job:
    """A worker or writer, as the health server sees it."""

    def __init__(self) -> None:
        self.ready = asyncio.Event()
        self.problem: str | None = None


async def test_health_follows_the_job_and_its_problem(registry: CollectorRegistry) -> None:
    job, port = Job(), free_port()
    WorkerMetrics(registry).claimed(4)

    async def get(path: str) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}{path}") as answer:
            return answer.status, await answer.text()

    async with HealthServer(job, "127.0.0.1", port, registry=registry, problem=lambda: job.problem):
        assert await get("/healthz") == (200, '{"status": "ok"}')
        assert (await get("/readyz"))[0] == 503
        job.ready.set()
        assert await get("/readyz") == (200, '{"ready": true}')
        job.problem = "the disk is full"
        assert await get("/readyz") == (503, '{"ready": false, "detail": "the disk is full"}')
        status, text = await get("/metrics")
    assert status == 200
    assert "platolm_claims_total 4.0" in text


async def test_without_a_registry_the_process_is_shown() -> None:
    port = free_port()
    async with (
        HealthServer(Job(), "127.0.0.1", port),
        aiohttp.ClientSession() as session,
        session.get(f"http://127.0.0.1:{port}/metrics") as answer,
    ):
        assert "process_resident_memory_bytes" in await answer.text()
        assert answer.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"


# the reference


def worker_families() -> CollectorRegistry:
    registry = process_registry()
    metrics = WorkerMetrics(registry)
    metrics.watch_replicas(lambda: [REPLICA])
    metrics.retried("simulator", RetryCause.NO_ANSWER)
    metrics.faulty("simulator", Fault.REPEATED)
    metrics.chat_apis.asked("simulator", "answered", 1)
    return registry


def api_families() -> CollectorRegistry:
    registry = process_registry()
    http = HttpMetrics(registry)
    http.requests.labels("GET", "/v1/runs", "200").inc()
    http.seconds.labels("GET", "/v1/runs").observe(1)
    collector = RunCollector()
    collector.survey = SURVEY
    registry.register(collector)
    return registry


def writer_families() -> CollectorRegistry:
    registry = process_registry()
    WriterMetrics(registry)
    return registry


def families(registry: CollectorRegistry) -> dict[str, tuple[str, frozenset[str]]]:
    """Type and labels of each family of ours."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): (
            family.type,
            frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
        )
        for family in registry.collect()
        if not family.name.startswith("process_")
    }


def documented(section: str) -> dict[str, tuple[str, frozenset[str]]]:
    text = REFERENCE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `platolm_")]
    assert all(len(row) == 4 and row[3].strip() for row in rows), "name, type, labels and a meaning"
    return {
        name.strip(" `"): (kind.strip(), frozenset(label.strip() for label in labels.split(",") if label.strip()))
        for name, kind, labels, _ in rows
    }


@pytest.mark.parametrize(
    ("section", "registry"),
    [("Workers", worker_families()), ("API", api_families()), ("Writers", writer_families())],
    ids=["worker", "api", "writer"],
)
def test_the_reference_names_every_metric_and_no_other(section: str, registry: CollectorRegistry) -> None:
    assert documented(section) == families(registry)


def test_the_reference_names_every_cause_and_no_other() -> None:
    text = REFERENCE.read_text(encoding="utf-8").partition("| cause | |")[2].partition("\n## ")[0]
    causes = [line.split("`")[1] for line in text.splitlines() if line.startswith("| `")]
    assert causes == [cause.value for cause in RetryCause]


def test_no_label_names_a_conversation() -> None:
    labels = {
        label for found in (worker_families(), api_families()) for _, used in families(found).values() for label in used
    }
    assert labels == {
        "side",
        "fault",
        "finish_reason",
        "outcome",
        "cause",
        "reason",
        "replica",
        "state",
        "run",
        "figure",
        "method",
        "route",
        "status",
    }
