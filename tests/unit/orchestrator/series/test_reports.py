"""Workers' reports: what is in one, and what is read back."""

from __future__ import annotations

from typing import cast

import aiohttp
import pytest
from prometheus_client import CollectorRegistry

from platolm.conversation import ASSISTANT, USER
from platolm.endings import FinishReason
from platolm.utterances import Utterance
from services.orchestrator.engines.engine_metrics import EngineReading
from services.orchestrator.engines.replicas import Pools, Replicas
from services.orchestrator.metrics.worker import WorkerMetrics
from services.orchestrator.queue.reports import OLDEST_REPORT_S, ReplicaReport, SideTotals, recent_reports
from services.orchestrator.series.reporting import worker_report
from tests.unit.orchestrator.series.reported import replica, stamped
from tests.unit.orchestrator.stopped_clock import StoppedClock

SIMULATOR, RESPONDENT = "http://key:secret@127.0.0.1:8011/v1", "http://127.0.0.1:8012/v1"
REPORT = stamped(12.5, simulator=SideTotals(1, 2, 3, 4, 5), replicas=[replica()])


def field(at_us: int = 12_500_000, report: bytes | None = None) -> str:
    return f"{at_us} {(report or REPORT.report.to_json()).decode()}"


def test_a_report_is_read_as_it_was_written() -> None:
    assert recent_reports({"w1": field()}, now=13.0) == {"w1": REPORT}


@pytest.mark.parametrize(("age_s", "counts"), [(-1.0, True), (OLDEST_REPORT_S, True), (OLDEST_REPORT_S + 0.001, False)])
def test_an_old_report_says_nothing(age_s: float, counts: bool) -> None:
    assert (recent_reports({"w1": field()}, now=12.5 + age_s) == {"w1": REPORT}) is counts


@pytest.mark.parametrize(
    "unreadable", ["", "12500000", "12500000 {", "soon {}", "12500000 {}", '12500000 {"totals": {}, "replicas": [3]}']
)
def test_a_report_of_another_form_hides_nobody(unreadable: str) -> None:
    assert recent_reports({"w0": unreadable, "w1": field()}, now=13.0) == {"w1": REPORT}


def test_a_newer_worker_may_say_more() -> None:
    more = REPORT.report.to_json().replace(b'"totals"', b'"mood":"fine","totals"').replace(b'"url"', b'"a":1,"url"')
    assert recent_reports({"w1": field(report=more)}, now=13.0) == {"w1": REPORT}


@pytest.fixture
async def pools(monkeypatch: pytest.MonkeyPatch) -> Pools:
    replicas = Replicas(cast("aiohttp.ClientSession", None), hang_after_s=60)
    pools = Pools(replicas, {USER: [SIMULATOR], ASSISTANT: [RESPONDENT]})
    for role in (USER, ASSISTANT):
        await pools.get(role, "").refresh()
    return pools


async def test_a_worker_tells_what_its_engines_said_at_the_last_look(
    pools: Pools, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = StoppedClock()
    for module in ("engines.replicas", "series.reporting"):
        monkeypatch.setattr(f"services.orchestrator.{module}.time", clock)
    known = pools.replicas.get(SIMULATOR)
    known.note(EngineReading(4096, 16, 7.0, 3, 2, 0.25), clock.now, hang_after_s=60)
    clock.now += 4.5
    known.refuse()
    report = worker_report(WorkerMetrics(CollectorRegistry()), pools)
    simulator = "http://127.0.0.1:8011/v1"  # without the key in it
    assert report.replicas == [
        ReplicaReport("simulator", simulator, False, 4096, 3, 2, 0.25, 4.5),
        ReplicaReport("respondent", RESPONDENT, True, 0, None, None, None, None),
    ]
    assert dict(report.totals) == {"simulator": SideTotals(), "respondent": SideTotals()}


async def test_an_engine_without_metrics_is_not_idle(pools: Pools) -> None:
    pools.replicas.get(SIMULATOR).note(EngineReading(), 5.0, hang_after_s=60)
    [silent, _] = worker_report(WorkerMetrics(CollectorRegistry()), pools).replicas
    assert (silent.running, silent.waiting, silent.read_s_ago) == (None, None, None)


async def test_totals_are_since_the_start_and_stay_as_they_were_told(pools: Pools) -> None:
    metrics = WorkerMetrics(CollectorRegistry())
    spoken = Utterance("Soup.", [1, 2, 3], 500, FinishReason.STOP, 0.3, 400)
    metrics.spoken("simulator", spoken, 384)
    first = worker_report(metrics, pools)
    metrics.spoken("simulator", spoken, 1000)
    metrics.spoken("simulator", Utterance("So.", [4], 20, FinishReason.LENGTH, 0.1, None), 16)
    assert first.totals["simulator"] == SideTotals(1, 3, 500, 384, 384)
    # An engine that does not tell what it had cached counts on neither side of the hit ratio.
    assert metrics.totals() == {"simulator": SideTotals(3, 7, 1020, 784, 1384), "respondent": SideTotals()}
