"""Watches the engines that open runs need: a run whose engines are all away waits, and goes on when one answers."""

from __future__ import annotations

import time

import structlog

from platolm.conversation import ASSISTANT, USER
from platolm.runs import PausedBy
from platolm.spec import RunSpec
from services.orchestrator.engines.replicas import Pool, Pools
from services.orchestrator.engines.sides import SIDE_NAMES
from services.orchestrator.metrics.replicas import replica_label
from services.orchestrator.queue import Queue
from services.orchestrator.queue.queue import pool_key

logger = structlog.get_logger(__name__)


class EngineWatch:
    """Keeps a worker's pools in step with the open runs, and the runs in step with the pools."""

    def __init__(self, queue: Queue, pools: Pools, *, patience_s: float) -> None:
        self._queue = queue
        self._pools = pools
        self._patience_s = patience_s
        self._specs: dict[str, RunSpec] = {}
        self.active: set[str] = set()

    async def look(self) -> None:
        """Once over all runs and engines.

        Raises:
            RedisError: Redis is away.
        """
        self.active = set(await self._queue.active_runs())
        open_runs = set(await self._queue.open_runs()) | self.active
        for run_id in open_runs:
            await self.spec(run_id)
        self._forget(open_runs)
        await self._pools.refresh()
        for run_id, spec in list(self._specs.items()):
            await self._hold_or_let_go(run_id, spec)

    async def spec(self, run_id: str) -> RunSpec:
        """A run's spec; its pools are known from now on."""
        spec = self._specs.get(run_id)
        if spec is None:
            spec = await self._queue.run_spec(run_id)
            assert spec is not None, "a run that is handed out exists"
            self._specs[run_id] = spec
        self._pools_of(spec)
        return spec

    def _pools_of(self, spec: RunSpec) -> dict[str, Pool]:
        sides = {USER: spec.simulator, ASSISTANT: spec.respondent}
        return {role: self._pools.get(role, pool_key(side)) for role, side in sides.items()}

    async def _hold_or_let_go(self, run_id: str, spec: RunSpec) -> None:
        away = self._away(spec)
        if run_id in self.active:
            if away is not None:
                await self._hold(run_id, spec, away)
        elif away is None and self._all_usable(spec) and await self._queue.paused_by(run_id) is PausedBy.ENGINES:
            logger.info("engines_answer_again", run_id=run_id)
            await self._queue.resume(run_id, PausedBy.ENGINES)

    async def _hold(self, run_id: str, spec: RunSpec, away: str) -> None:
        """Pause a run, unless another worker reaches what this one does not: it goes on there."""
        if await self._others_reach(spec):
            logger.error("engines_out_of_reach_here", run_id=run_id, reason=away)
            return
        logger.error("run_waits_for_engines", run_id=run_id, reason=away)
        await self._queue.pause(run_id, PausedBy.ENGINES, away)

    async def _others_reach(self, spec: RunSpec) -> bool:
        """Whether some worker says that it can use engines of each side that nobody answers here for."""
        wanted = [
            (SIDE_NAMES[role], {replica_label(url) for url in pool.urls})
            for role, pool in self._pools_of(spec).items()
            if pool.unusable_since is not None
        ]
        reports = [stamped.report for stamped in (await self._queue.reports()).values()]
        return any(all(report.reaches(side, urls) for side, urls in wanted) for report in reports)

    def _away(self, spec: RunSpec) -> str | None:
        """What to tell of a side that no engine has answered for, for longer than patience lasts."""
        for role, pool in self._pools_of(spec).items():
            pool.usable()
            since = pool.unusable_since
            if since is not None and time.monotonic() - since >= self._patience_s:
                return f"no {pool.kind} of the {SIDE_NAMES[role]} answers at {pool.name}"
        return None

    def _all_usable(self, spec: RunSpec) -> bool:
        return all(pool.usable() for pool in self._pools_of(spec).values())

    def _forget(self, open_runs: set[str]) -> None:
        self._specs = {run_id: spec for run_id, spec in self._specs.items() if run_id in open_runs}
        specs = self._specs.values()
        self._pools.forget(
            {
                USER: {pool_key(spec.simulator) for spec in specs},
                ASSISTANT: {pool_key(spec.respondent) for spec in specs},
            }
        )
