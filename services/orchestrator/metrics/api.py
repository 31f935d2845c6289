"""The API's `/metrics`: its own requests, and all runs and workers as Redis has them at that moment."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Iterator, Mapping

import structlog
from fastapi import APIRouter, Request, Response
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from redis.asyncio import Redis

from platolm.runs import RunState
from services.orchestrator.metrics.http import HttpMetrics
from services.orchestrator.metrics.registry import EXPOSITION_TYPE, exposition, process_registry
from services.orchestrator.metrics.replicas import replica_label
from services.orchestrator.metrics.survey import RunCounts, Survey, take_survey
from services.orchestrator.queue import REDIS_AWAY, Queue

logger = structlog.get_logger(__name__)

SURVEY_AGE_S = 1.0
"""A survey younger than this is shown again: several scrapers cost no more than one."""

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
async def metrics(request: Request) -> Response:
    """Metrics for Prometheus; while Redis is away, without those of runs and workers."""
    served: ApiMetrics = request.app.state.metrics
    return Response(await served.exposition(), headers={"Content-Type": EXPOSITION_TYPE})


class ApiMetrics:
    """The API's registry; put it at `app.state.metrics`, and `http` into the `CountRequests` middleware."""

    def __init__(self) -> None:
        self.registry = process_registry()
        self.http = HttpMetrics(self.registry)
        self._runs = RunCollector()
        self.registry.register(self._runs)
        self._source: tuple[Redis, Queue] | None = None
        self._taken_at = -SURVEY_AGE_S
        self._taking = asyncio.Lock()

    def watch(self, redis: Redis, queue: Queue) -> None:
        """From now on, show what these hold."""
        self._source = redis, queue

    async def exposition(self) -> bytes:
        """Every metric as Prometheus reads it."""
        async with self._taking:
            if time.monotonic() - self._taken_at >= SURVEY_AGE_S:
                self._runs.survey = await self._survey()
                self._taken_at = time.monotonic()
        return exposition(self.registry)

    async def _survey(self) -> Survey | None:
        if self._source is None:
            return None
        redis, queue = self._source
        try:
            return await take_survey(redis, queue.key)
        except REDIS_AWAY as error:
            logger.warning("redis_away", error=str(error))
            return None


class RunCollector(Collector):
    """Shows the survey that it was given; without one, that Redis is away."""

    def __init__(self) -> None:
        self.survey: Survey | None = None

    def collect(self) -> Iterator[Metric]:
        survey = self.survey
        yield GaugeMetricFamily("platolm_redis_up", "Whether Redis answered the API, 0 or 1", float(survey is not None))
        if survey is None:
            return
        yield GaugeMetricFamily("platolm_workers", "Workers alive", survey.num_workers)
        yield GaugeMetricFamily(
            "platolm_queue_depth", "Conversations in the queue that nobody owns", survey.queue_depth
        )
        yield GaugeMetricFamily("platolm_backlog", "Conversations that more workers could begin now", survey.backlog)
        yield _reserved(survey.reserved_tokens)
        yield _runs(survey.runs_by_state)
        yield _conversations(survey.open_runs)
        yield from _counters(survey.open_runs)
        yield from _realism(survey.open_runs)


def _reserved(reserved_tokens: Mapping[str, int]) -> Metric:
    family = GaugeMetricFamily(
        "platolm_reserved_tokens", "Tokens that the conversations on a replica may need", labels=["replica"]
    )
    by_label: Counter[str] = Counter()
    for url, tokens in reserved_tokens.items():
        by_label[replica_label(url)] += tokens
    for label, tokens in by_label.items():
        family.add_metric([label], tokens)
    return family


def _runs(runs_by_state: Mapping[RunState, int]) -> Metric:
    family = GaugeMetricFamily("platolm_runs", "Runs", labels=["state"])
    for state in RunState:
        family.add_metric([state.value], runs_by_state.get(state, 0))
    return family


def _conversations(open_runs: Mapping[str, RunCounts]) -> Metric:
    family = GaugeMetricFamily(
        "platolm_run_conversations", "Conversations of a run that is not over", labels=["run", "state"]
    )
    for run_id, run in open_runs.items():
        by_state = {
            "unfed": run.num_unfed,
            "queued": run.num_queued,
            "in_flight": run.num_in_flight,
            "finished": run.num_finished,
            "committed": run.num_committed,
            "dead": run.num_dead,
        }
        for state, count in by_state.items():
            family.add_metric([run_id, state], count)
    return family


def _counters(open_runs: Mapping[str, RunCounts]) -> Iterator[Metric]:
    fed = CounterMetricFamily("platolm_run_fed", "Conversations handed to the queue", labels=["run"])
    utterances = CounterMetricFamily("platolm_run_utterances", "Utterances recorded, given ones too", labels=["run"])
    tokens = CounterMetricFamily("platolm_run_generated_tokens", "Tokens generated, of both sides", labels=["run"])
    for run_id, run in open_runs.items():
        fed.add_metric([run_id], run.num_fed)
        utterances.add_metric([run_id], run.num_utterances)
        tokens.add_metric([run_id], run.generated_tokens)
    yield from (fed, utterances, tokens)


def _realism(open_runs: Mapping[str, RunCounts]) -> Iterator[Metric]:
    figures = GaugeMetricFamily(
        "platolm_realism", "Measures of the user in a run's dataset so far", labels=["run", "figure"]
    )
    outside = GaugeMetricFamily(
        "platolm_realism_out_of_bounds", "Whether one is out of the run's bounds, 0 or 1", labels=["run", "figure"]
    )
    for run_id, run in open_runs.items():
        if not run.realism:
            continue
        for figure, value in run.realism.figures.items():
            figures.add_metric([run_id, figure], value)
            outside.add_metric([run_id, figure], float(figure in run.realism.out_of_bounds))
    yield from (figures, outside)
