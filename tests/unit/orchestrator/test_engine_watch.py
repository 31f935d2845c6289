"""Runs wait while their engines are away, and go on when they answer; nobody else's pause is touched."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

import aiohttp
import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.errors import SpeakerError
from platolm.runs import PausedBy, RunState
from platolm.spec import RunSpec, SideSpec
from services.orchestrator.engines.engine_watch import EngineWatch
from services.orchestrator.engines.replicas import LOOK_EVERY_S, LOOK_TIMEOUT_S, Pools, Replicas
from services.orchestrator.queue import Queue
from services.orchestrator.queue.reports import ReplicaReport, StampedReport, WorkerReport
from tests.unit.orchestrator.stopped_clock import StoppedClock
from tests.unit.orchestrator.stub_engines import MOVING, StubEngines

SIMULATOR, RESPONDENT, OWN = "http://127.0.0.1:8011/v1", "http://127.0.0.1:8012/v1", "http://127.0.0.1:8099/v1"
LOST = SpeakerError("did not answer", retryable=True)
PATIENCE_S = 30.0
REFRESH_S = 2.0


@dataclass
class StubQueue:
    """Runs by id, each with who paused it; what was done to them is in `calls`."""

    specs: dict[str, RunSpec]
    paused: dict[str, PausedBy] = field(default_factory=dict)
    cancelling: set[str] = field(default_factory=set)
    over: set[str] = field(default_factory=set)
    calls: list[tuple[object, ...]] = field(default_factory=list)
    told: dict[str, StampedReport] = field(default_factory=dict)

    async def reports(self) -> dict[str, StampedReport]:
        return self.told

    async def active_runs(self) -> list[str]:
        return [run for run in self.specs if run not in {*self.paused, *self.cancelling, *self.over}]

    async def open_runs(self) -> list[str]:
        return [run for run in self.specs if run not in self.over]

    async def run_spec(self, run_id: str) -> RunSpec:
        self.calls.append(("run_spec", run_id))
        return self.specs[run_id]

    async def paused_by(self, run_id: str) -> PausedBy | None:
        return self.paused.get(run_id)

    async def pause(self, run_id: str, by: PausedBy, reason: str) -> RunState:
        self.calls.append(("pause", run_id, by, reason))
        self.paused[run_id] = by
        return RunState.PAUSED

    async def resume(self, run_id: str, by: PausedBy | None = None) -> RunState:
        self.calls.append(("resume", run_id, by))
        if by in (None, self.paused.get(run_id)):
            self.paused.pop(run_id, None)
        return RunState.RUNNING

    def acted(self) -> list[tuple[object, ...]]:
        """Pauses and resumes since it was asked last."""
        done, self.calls = self.calls, []
        return [call for call in done if call[0] != "run_spec"]


@dataclass
class Watched:
    """A watch with all that is around it."""

    queue: StubQueue
    engines: StubEngines
    pools: Pools
    watch: EngineWatch
    clock: StoppedClock

    async def look_for(self, seconds: float) -> None:
        """A look now, and again every `REFRESH_S` until `seconds` have passed."""
        await self.watch.look()
        for _ in range(int(seconds / REFRESH_S)):
            self.clock.now += REFRESH_S
            await self.watch.look()


DEFAULT = RunSpec(conversations=1)
ELSEWHERE = RunSpec(conversations=1, respondent=SideSpec(profile="platolm", endpoints=[OWN]))


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    clock = StoppedClock()
    for module in ("engine_watch", "replicas"):
        monkeypatch.setattr(f"services.orchestrator.engines.{module}.time", clock)
    engines = StubEngines().installed(monkeypatch)
    queue = StubQueue({"run-a": DEFAULT})
    replicas = Replicas(cast("aiohttp.ClientSession", None), hang_after_s=60)
    pools = Pools(replicas, {USER: [SIMULATOR], ASSISTANT: [RESPONDENT]})
    watch = EngineWatch(cast("Queue", queue), pools, patience_s=PATIENCE_S)
    return Watched(queue, engines, pools, watch, clock)


async def test_a_run_whose_engines_answer_is_left_alone(watched: Watched) -> None:
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == []
    assert watched.watch.active == {"run-a"}


PAUSED_AS = ("pause", "run-a", PausedBy.ENGINES, f"no engine of the respondent answers at {RESPONDENT}")


async def test_a_run_pauses_when_patience_is_over_and_not_before(watched: Watched) -> None:
    await watched.look_for(0)
    watched.engines.metrics[RESPONDENT] = LOST
    watched.clock.now += LOOK_EVERY_S
    # One look may be missed; from the second on the engine is passed over.
    await watched.look_for(PATIENCE_S)
    assert watched.queue.acted() == []
    await watched.look_for(REFRESH_S)
    assert watched.queue.acted() == [PAUSED_AS]
    await watched.look_for(PATIENCE_S)
    assert watched.queue.acted() == []


async def test_it_goes_on_with_the_first_answer(watched: Watched) -> None:
    watched.engines.metrics[RESPONDENT] = LOST
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == [PAUSED_AS]
    watched.engines.metrics[RESPONDENT] = MOVING
    await watched.look_for(0)
    assert watched.queue.acted() == [("resume", "run-a", PausedBy.ENGINES)]
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == []


async def test_it_waits_for_both_sides(watched: Watched) -> None:
    watched.engines.metrics = {SIMULATOR: LOST, RESPONDENT: LOST}
    await watched.look_for(2 * PATIENCE_S)
    [(_, _, _, reason)] = watched.queue.acted()
    assert reason == f"no engine of the simulator answers at {SIMULATOR}"
    watched.engines.metrics[SIMULATOR] = MOVING
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == []
    watched.engines.metrics[RESPONDENT] = MOVING
    await watched.look_for(0)
    assert watched.queue.acted() == [("resume", "run-a", PausedBy.ENGINES)]


async def test_a_worker_that_has_just_come_lifts_no_pause_before_an_engine_is_known(watched: Watched) -> None:
    """Its own patience has not run out, which says nothing of the engines."""
    nowhere = SideSpec(profile="platolm", endpoints=["http://no..host:8000/v1"])
    watched.queue.specs["run-a"] = RunSpec(conversations=1, respondent=nowhere)
    watched.queue.paused["run-a"] = PausedBy.ENGINES
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == []


async def test_a_worker_that_has_just_come_lifts_no_pause_by_a_look_that_is_missed(watched: Watched) -> None:
    """One missed look may be borne; an engine that never answered is another thing."""
    watched.engines.metrics[RESPONDENT] = LOST
    watched.queue.paused["run-a"] = PausedBy.ENGINES
    await watched.look_for(0)
    assert watched.queue.acted() == []
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == []
    watched.engines.metrics[RESPONDENT] = MOVING
    await watched.look_for(0)
    assert watched.queue.acted() == [("resume", "run-a", PausedBy.ENGINES)]


async def test_looks_that_stall_do_not_make_an_engine_usable_between_them(watched: Watched) -> None:
    """What claims conversations asks for offers at any time, and must neither get one nor begin patience anew."""
    await watched.look_for(0)
    watched.engines.metrics[RESPONDENT] = LOST
    watched.clock.now += LOOK_EVERY_S
    await watched.look_for(REFRESH_S)
    for _ in range(int(PATIENCE_S / (LOOK_TIMEOUT_S + REFRESH_S)) + 1):
        watched.clock.now += LOOK_TIMEOUT_S + REFRESH_S
        assert watched.pools.offers()[ASSISTANT] == {"": []}
        await watched.watch.look()
    assert watched.queue.acted() == [PAUSED_AS]


async def test_a_short_absence_pauses_nothing(watched: Watched) -> None:
    for _ in range(3):
        watched.engines.metrics[RESPONDENT] = LOST
        await watched.look_for(PATIENCE_S - 2 * REFRESH_S)
        watched.engines.metrics[RESPONDENT] = MOVING
        await watched.look_for(0)
    assert watched.queue.acted() == []


@pytest.mark.parametrize("by", [by for by in PausedBy if by is not PausedBy.ENGINES])
async def test_only_its_own_pauses_are_lifted(watched: Watched, by: PausedBy) -> None:
    watched.queue.paused["run-a"] = by
    await watched.look_for(2 * PATIENCE_S)
    watched.engines.metrics[RESPONDENT] = LOST
    await watched.look_for(2 * PATIENCE_S)
    watched.engines.metrics[RESPONDENT] = MOVING
    await watched.look_for(PATIENCE_S)
    assert watched.queue.acted() == []
    assert watched.queue.paused == {"run-a": by}


async def test_a_run_that_is_cancelled_is_left_alone(watched: Watched) -> None:
    watched.queue.cancelling.add("run-a")
    watched.engines.metrics[RESPONDENT] = LOST
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == []


async def test_a_hung_engine_is_away_too(watched: Watched) -> None:
    watched.engines.metrics[RESPONDENT] = "vllm:num_requests_running{} 1\nvllm:iteration_tokens_total_count{} 9\n"
    await watched.look_for(60 + PATIENCE_S - REFRESH_S)
    assert watched.queue.acted() == []
    await watched.look_for(REFRESH_S)
    assert watched.queue.acted() == [PAUSED_AS]


async def test_only_the_runs_that_need_the_engines_wait(watched: Watched) -> None:
    watched.queue.specs["run-b"] = ELSEWHERE
    watched.engines.metrics[OWN] = LOST
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == [
        ("pause", "run-b", PausedBy.ENGINES, f"no engine of the respondent answers at {OWN}")
    ]
    assert watched.watch.active == {"run-a"}
    watched.engines.metrics = {OWN: MOVING, RESPONDENT: LOST}
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == [("resume", "run-b", PausedBy.ENGINES), PAUSED_AS]


async def test_a_run_that_comes_gets_its_own_patience(watched: Watched) -> None:
    watched.engines.metrics[OWN] = LOST
    await watched.look_for(2 * PATIENCE_S)
    watched.queue.specs["run-b"] = ELSEWHERE
    await watched.look_for(PATIENCE_S - REFRESH_S)
    assert watched.queue.acted() == []
    await watched.look_for(2 * REFRESH_S)
    assert [call[:2] for call in watched.queue.acted()] == [("pause", "run-b")]


async def test_pools_come_and_go_with_the_runs_that_name_them(watched: Watched) -> None:
    watched.queue.specs["run-b"] = ELSEWHERE
    await watched.look_for(REFRESH_S)
    assert set(watched.pools.offers()[ASSISTANT]) == {"", OWN}
    assert sorted(map(str, watched.queue.calls)) == ["('run_spec', 'run-a')", "('run_spec', 'run-b')"]
    watched.queue.paused["run-b"] = PausedBy.USER
    await watched.look_for(REFRESH_S)
    assert set(watched.pools.offers()[ASSISTANT]) == {"", OWN}, "a run that waits will need them again"
    watched.queue.over.add("run-b")
    await watched.look_for(0)
    assert watched.pools.offers().keys() == {USER, ASSISTANT}
    assert set(watched.pools.offers()[ASSISTANT]) == {""}
    assert watched.watch.active == {"run-a"}


async def test_a_run_that_was_just_handed_out_is_known_at_once(watched: Watched) -> None:
    watched.queue.specs["run-b"] = ELSEWHERE
    assert await watched.watch.spec("run-b") == ELSEWHERE
    assert await watched.watch.spec("run-b") == ELSEWHERE
    assert watched.queue.calls == [("run_spec", "run-b")]
    assert watched.pools.offers()[ASSISTANT] == {"": [], OWN: []}


def says(usable: bool, url: str = RESPONDENT, side: str = "respondent") -> StampedReport:
    replica = ReplicaReport(side, url, usable, 0, None, None, None, None)
    return StampedReport(0.0, WorkerReport({}, [replica]))


async def test_a_run_that_another_worker_can_serve_goes_on_there(watched: Watched) -> None:
    """The network between this worker and the engines is cut, not the engines' own."""
    watched.engines.metrics[RESPONDENT] = LOST
    watched.queue.told = {"this": says(False), "other": says(True)}
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == []
    watched.queue.told["other"] = says(False)
    await watched.look_for(0)
    assert watched.queue.acted() == [PAUSED_AS]


async def test_a_worker_that_reaches_something_else_says_nothing_of_a_run(watched: Watched) -> None:
    watched.engines.metrics[RESPONDENT] = LOST
    watched.queue.told = {"elsewhere": says(True, url=OWN), "beside": says(True, side="simulator")}
    await watched.look_for(2 * PATIENCE_S)
    assert watched.queue.acted() == [PAUSED_AS]
