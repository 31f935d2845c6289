"""The queue's scripts against a model: calls in any order, stale owners, dead workers, a Redis that comes back older.

After every call all that Redis holds is what the model says, key by key; at the end of each example the runs are
carried to their end, and nothing may be left over or missing.
"""

from __future__ import annotations

import asyncio
import copy
import itertools
import sys
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, cast

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.runs import PausedBy, RunState
from platolm.spec import RunSpec
from services.orchestrator.queue import Claim, LeaseLostError, Offer, Queue
from tests.integration.orchestrator.queue_contents import held_by_model, held_by_redis
from tests.integration.orchestrator.queue_model import QueueModel
from tests.integration.orchestrator.queueing import Offers
from tests.redis_server import RedisServer

LEASE_MS = 3_600_000
RECLAIM_LEASE_MS = 1_000
"""Redis must be up for this long before anything is reclaimed; the worker that asks gets it for its own lease."""

NUM_SNAPSHOTS = 10
"""Redis comes back at most so many calls older."""

OWN_ENDPOINT = "http://10.0.0.5:8000/v1"
URLS = ("e0", "e1", "both")


def all_pools(*offers: Offer) -> Offers:
    return {role: {pool: list(offers) for pool in ("", OWN_ENDPOINT)} for role in (USER, ASSISTANT)}


UNBOUNDED = all_pools(Offer("e0", 0))
TIGHT = {USER: all_pools(Offer("e0", 120), Offer("e1", 120))[USER], ASSISTANT: UNBOUNDED[ASSISTANT]}
ONE_FOR_BOTH = all_pools(Offer("both", 220))

counts = st.sampled_from([3, 1, 2, 4, 0])
workers = st.sampled_from(["w0", "w1", "w2"])
pools = st.lists(
    st.builds(Offer, st.sampled_from(URLS), st.sampled_from([0, 40, 120, 300])), max_size=3, unique_by=lambda o: o.url
)
side_pools = st.fixed_dictionaries({}, optional={"": pools, OWN_ENDPOINT: pools})
url_lists = st.lists(st.sampled_from(URLS), unique=True, max_size=3)
mostly_none = st.sampled_from([0, 0, 0, 0, -2, -1, 1])
offer_sets = st.one_of(
    st.sampled_from([TIGHT, UNBOUNDED, ONE_FOR_BOTH]), st.fixed_dictionaries({USER: side_pools, ASSISTANT: side_pools})
)
specs = st.builds(
    RunSpec,
    conversations=st.sampled_from([9, 4, 1]),
    retries=st.fixed_dictionaries(
        {"attempts": st.sampled_from([1, 1, 2, 3]), "lost_engines": st.sampled_from([2, 1, 3])}
    ),
    endings=st.fixed_dictionaries({"context_tokens": st.sampled_from([16, 40, 100])}),
    limits=st.fixed_dictionaries(
        {
            "in_flight": st.sampled_from([None, None, 1, 3]),
            "generated_tokens": st.sampled_from([None, None, None, 20]),
            "dead": st.sampled_from([None, None, 1, 2]),
        }
    ),
    simulator=st.sampled_from([{"profile": "socratic"}, {"profile": "socratic", "endpoints": [OWN_ENDPOINT]}]),
)


@dataclass(frozen=True)
class Snapshot:
    """A moment that Redis may come back to."""

    keys: dict[bytes, tuple[int, bytes]]
    model: QueueModel


@dataclass(frozen=True)
class Bench:
    """What all examples share: one Redis, and one loop for the queue's calls."""

    queue: Queue
    runner: asyncio.Runner
    text: redis.Redis
    raw: redis.Redis


class QueueMachine(RuleBasedStateMachine):
    """Every call that workers, the feeder, the writer and the API make, with any timing."""

    def __init__(self, bench: Bench) -> None:
        super().__init__()
        self.bench, self.queue = bench, bench.queue
        bench.text.flushall()
        self.model = QueueModel()
        self.dataset: dict[str, set[int]] = {}
        self.claims: list[Claim] = []
        self.snapshots: deque[Snapshot] = deque(maxlen=NUM_SNAPSHOTS)
        self.names = itertools.count()

    def call(self, coroutine: Any) -> Any:
        return self.bench.runner.run(coroutine)

    def a_run(self, data: st.DataObject) -> str:
        return data.draw(st.sampled_from(sorted(self.model.runs)), label="run")

    def a_claim(self, data: st.DataObject) -> Claim:
        """One that stands; or one that was handed out earlier, rather one whose conversation is somebody else's now."""
        standing = [claim for claim in self.claims if self.model.owned(claim)]
        lost = [claim for claim in self.claims if claim not in standing and self.model.is_queued(claim)]
        groups = [group for group in (standing, standing, lost, self.claims) if group]
        return data.draw(st.sampled_from(data.draw(st.sampled_from(groups), label="of")), label="claim")

    # runs

    @initialize(spec=specs)
    def one_run_and_one_worker(self, spec: RunSpec) -> None:
        self.create_run(spec, "k0")
        self.feed_run("run-0", window=9, max_finished=1)
        self.register("w0")

    @precondition(lambda self: len(self.model.runs) < 3)
    @rule(spec=specs, key=st.sampled_from(["k0", "k1", "k2"]))
    def create_run(self, spec: RunSpec, key: str) -> None:
        run_id = f"run-{next(self.names)}"
        answer = self.call(
            self.queue.create_run(run_id, spec, idempotency_key=key, digest="d", created_at=0.0, warnings=[])
        )
        assert answer == (self.model.create_run(run_id, spec, key), "d")
        self.dataset.setdefault(run_id, set())

    @precondition(lambda self: self.model.runs)
    @rule(
        data=st.data(),
        window=st.sampled_from([9, 4, 1, 0]),
        max_finished=st.integers(0, 3),
        off=st.sampled_from([0, 0, 0, -1, 1]),
    )
    def feed(self, data: st.DataObject, window: int, max_finished: int, off: int) -> None:
        self.feed_run(self.a_run(data), window, max_finished, off)

    def feed_run(self, run_id: str, window: int, max_finished: int, off: int = 0) -> None:
        run = self.model.runs[run_id]
        rest = range(run.cursor, run.spec.conversations)
        seeds = ["" if index in self.dataset[run_id] else f'{{"line":{index}}}' for index in rest]
        cursor = run.cursor + off
        expected = self.model.feed(run_id, cursor, seeds, window, max_finished)
        fed = self.queue.feed(run_id, cursor=cursor, seeds=seeds, window=window, max_finished=max_finished)
        assert self.call(fed) == expected

    @precondition(lambda self: self.model.runs)
    @rule(data=st.data(), action=st.sampled_from(["pause", "resume", "resume by name", "cancel"]))
    def administer(self, data: st.DataObject, action: str) -> None:
        run_id, by = self.a_run(data), data.draw(st.sampled_from(PausedBy), label="by")
        if action == "pause":
            assert self.call(self.queue.pause(run_id, by, "a reason")) == self.model.pause(run_id, by)
        elif action == "resume":
            assert self.call(self.queue.resume(run_id)) == self.model.resume(run_id, None)
        elif action == "resume by name":
            assert self.call(self.queue.resume(run_id, by)) == self.model.resume(run_id, by)
        elif by is PausedBy.USER:  # seldom: nothing more comes of the run
            assert self.call(self.queue.cancel(run_id)) == self.model.cancel(run_id)

    @precondition(lambda self: any(run.dead for run in self.model.runs.values()))
    @rule(data=st.data())
    def retry_dead(self, data: st.DataObject) -> None:
        run_id = self.a_run(data)
        order = [int(index) for index in cast("list[str]", self.bench.text.hkeys(self.queue.key("dead", run_id)))]
        assert self.call(self.queue.retry_dead(run_id)) == self.model.retry_dead(run_id, order)

    @precondition(lambda self: any(run.state is RunState.PAUSED for run in self.model.runs.values()))
    @rule()
    def resume_all(self) -> None:
        for run_id in self.model.runs:
            assert self.call(self.queue.resume(run_id)) == self.model.resume(run_id, None)

    # workers

    def register(self, worker: str) -> None:
        self.call(self.queue.register(worker, lease_ms=LEASE_MS))
        self.model.register(worker)

    @rule(worker=workers, what=st.sampled_from(["renews", "lease runs out", "reclaims", "leaves"]))
    def a_worker(self, worker: str, what: str) -> None:
        if what == "renews":
            self.renew(worker)
        elif what == "lease runs out":
            self.lease_runs_out(worker)
        elif what == "reclaims":
            self.reclaim(worker)
        else:
            self.unregister(worker)

    def unregister(self, worker: str) -> None:
        num_held = len(self.model.held_by(worker))
        self.call(self.queue.unregister(worker))
        self.model.unregister(worker)
        self.sort_orphans_as_redis_did(num_held)

    def lease_runs_out(self, worker: str) -> None:
        self.bench.text.delete(self.queue.key("lease", worker))
        self.model.expire(worker)

    def renew(self, worker: str) -> None:
        expected = self.model.renew(worker)
        if expected is None:
            with pytest.raises(LeaseLostError):
                self.call(self.queue.renew(worker, lease_ms=LEASE_MS))
        else:
            assert self.call(self.queue.renew(worker, lease_ms=LEASE_MS)) == expected

    def reclaim(self, worker: str) -> None:
        freed = self.call(self.queue.reclaim(worker, lease_ms=RECLAIM_LEASE_MS))
        if worker in self.model.leases:
            self.bench.text.pexpire(self.queue.key("lease", worker), LEASE_MS)
        assert freed == self.model.reclaim(worker)
        self.sort_orphans_as_redis_did(freed)

    def sort_orphans_as_redis_did(self, freed: int) -> None:
        """A dead worker's conversations come back in any order; those that waited before stay in front."""
        for run in self.model.runs.values():
            told = [int(index) for index in self.bench.text.lrange(self.queue.key("orphans", run.id), 0, -1)]
            settled = max(0, len(run.orphans) - freed)
            if told[:settled] == run.orphans[:settled] and sorted(told) == sorted(run.orphans):
                run.orphans = told

    @rule(worker=workers, count=counts, offers=offer_sets, is_new=st.sampled_from([True, True, False]))
    def claim(self, worker: str, count: int, offers: Offers, is_new: bool) -> None:
        if is_new:
            self.register(worker)
        self.claim_as(worker, count, offers)

    @rule(worker=workers, count=counts, offers=st.sampled_from([TIGHT, UNBOUNDED, ONE_FOR_BOTH]))
    def claim_in_order(self, worker: str, count: int, offers: Offers) -> None:
        self.register(worker)
        self.claim_as(worker, count, offers)

    def claim_as(self, worker: str, count: int, offers: Offers) -> None:
        if not self.model.leases.get(worker):
            with pytest.raises(LeaseLostError):
                self.call(self.queue.claim(worker, count=count, offers=offers))
            return
        claimed = self.call(self.queue.claim(worker, count=count, offers=offers))
        self.model.take(worker, count, offers, claimed)
        assert len({claim.token for claim in [*self.claims, *claimed.claims]}) == len(self.claims) + len(claimed.claims)
        self.claims += claimed.claims

    @precondition(lambda self: self.model.active)
    @rule(killed=st.booleans())
    def a_whole_conversation(self, killed: bool) -> None:
        """What happens most: claimed, finished, written; Redis may come back to between two of these."""
        self.register("w0")
        self.claim_as("w0", 1, UNBOUNDED)
        if self.claims and self.model.owned(self.claims[-1]):
            self.remember()
            self.finish_claim(self.claims[-1], 0, 30)
            self.remember()
            self.write_run(self.claims[-1].run_id, 4, killed)

    # conversations; a claim may be one that stands or any that ever stood

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), off=mostly_none, again=st.booleans(), tokens=st.integers(0, 9))
    def append(self, data: st.DataObject, off: int, again: bool, tokens: int) -> None:
        self.append_to(self.a_claim(data), off, again, tokens)

    @precondition(lambda self: self.claims)
    @rule(tokens=st.integers(0, 9))
    def append_in_order(self, tokens: int) -> None:
        for claim in self.claims:
            if self.model.owned(claim):
                self.append_to(claim, 0, False, tokens)

    def append_to(self, claim: Claim, off: int, again: bool, tokens: int) -> None:
        conversation = self.model.owned(claim)
        turns = conversation.turns if conversation else []
        expected = max(0, len(turns) + off)
        turn = turns[-1] if again and turns else f"turn {next(self.names)}"
        outcome, length = self.model.append(claim, expected, turn, tokens)
        written = self.call(
            self.queue.append(
                claim.conversation_id,
                claim.token,
                index=claim.index,
                expected=expected,
                turn=turn,
                generated_tokens=tokens,
            )
        )
        assert (written.outcome, written.length) == (outcome, length)
        assert conversation is None or written.run_state == self.model.runs[claim.run_id].state

    @precondition(lambda self: self.claims)
    @rule(data=st.data(), off=st.sampled_from([0, 0, 0, 1]), tokens=st.integers(1, 200))
    def finish(self, data: st.DataObject, off: int, tokens: int) -> None:
        self.finish_claim(self.a_claim(data), off, tokens)

    def finish_claim(self, claim: Claim, off: int, tokens: int) -> None:
        conversation = self.model.owned(claim)
        expected = (len(conversation.turns) if conversation else 0) + off
        record = f"record {next(self.names)}"
        answer = self.model.finish(claim, expected, record, tokens)
        written = self.call(
            self.queue.finish(
                claim.conversation_id,
                claim.token,
                expected=expected,
                record=record,
                reason=TerminationReason.TURN_LIMIT,
                held_tokens=tokens,
            )
        )
        assert (written.outcome, written.length) == answer

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def fail(self, data: st.DataObject) -> None:
        claim = self.a_claim(data)
        answer = self.call(self.queue.fail(claim.conversation_id, claim.token, "boom"))
        assert answer == self.model.fail(claim, "boom")

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def lose_engine(self, data: st.DataObject) -> None:
        claim = self.a_claim(data)
        answer = self.call(self.queue.lose_engine(claim.conversation_id, claim.token, "reset"))
        assert answer == self.model.lose_engine(claim, "reset")

    @precondition(lambda self: self.claims)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        claim = self.a_claim(data)
        answer = self.call(self.queue.release(claim.conversation_id, claim.token))
        assert answer == self.model.release(claim)

    @precondition(lambda self: self.claims)
    @rule(
        data=st.data(),
        role=st.sampled_from([USER, ASSISTANT]),
        urls=st.lists(st.sampled_from(URLS), unique=True, max_size=3),
    )
    def place(self, data: st.DataObject, role: str, urls: list[str]) -> None:
        claim = self.a_claim(data)
        chosen = self.call(self.queue.place(claim.conversation_id, claim.token, role, urls))
        self.model.place(claim, role, urls, chosen)

    # the dataset writer

    @precondition(lambda self: self.model.runs)
    @rule(data=st.data(), limit=st.integers(1, 4), killed=st.booleans())
    def write(self, data: st.DataObject, limit: int, killed: bool) -> None:
        """Some records go into the dataset; a writer that is killed then has not told Redis."""
        self.write_run(self.a_run(data), limit, killed)

    def write_run(self, run_id: str, limit: int, killed: bool) -> None:
        if run_id not in self.model.open:
            return
        records = self.call(self.queue.finished_records(run_id, limit=limit))
        assert records.items() <= self.model.runs[run_id].finished.items()
        self.dataset[run_id] |= set(records)
        if not killed:
            self.commit(run_id, len(self.dataset[run_id]), list(records))

    @precondition(lambda self: self.model.runs)
    @rule(data=st.data())
    def write_knowing_less(self, data: st.DataObject) -> None:
        """Another writer tells late what it knew earlier."""
        run_id = self.a_run(data)
        written = sorted(self.dataset[run_id])
        indices = data.draw(st.lists(st.sampled_from(written), unique=True), label="indices") if written else []
        self.commit(run_id, data.draw(st.integers(len(indices), len(written)), label="known"), indices)

    def commit(self, run_id: str, committed: int, indices: list[int]) -> None:
        state = self.call(self.queue.commit(run_id, committed=committed, indices=indices))
        assert state == self.model.commit(run_id, committed, indices)

    # Redis comes back a moment older

    @invariant()
    def remember(self) -> None:
        raw = self.bench.raw
        with raw.pipeline() as pipe:
            for key in (keys := cast("list[bytes]", raw.keys("*"))):
                pipe.pttl(key)
                pipe.dump(key)
            answers = pipe.execute()
        held = {key: (max(0, ttl), value) for key, ttl, value in zip(keys, answers[::2], answers[1::2], strict=True)}
        self.snapshots.append(Snapshot(held, copy.deepcopy(self.model)))

    @rule(back=st.integers(1, NUM_SNAPSHOTS))
    def come_back_older(self, back: int) -> None:
        snapshot = self.snapshots[-min(back, len(self.snapshots))]
        with self.bench.raw.pipeline() as pipe:
            pipe.flushall()
            for key, (ttl_ms, value) in snapshot.keys.items():
                pipe.restore(key, ttl_ms, value)
            pipe.execute()
        self.model = copy.deepcopy(snapshot.model)

    # what always holds

    @invariant()
    def redis_holds_what_the_model_holds(self) -> None:
        assert held_by_redis(self.bench.text, self.queue) == held_by_model(self.model, self.queue)

    @invariant()
    def every_conversation_is_somewhere(self) -> None:
        """Not yet fed, or in one place of the queue, or in the dataset; what was given up was so by a cancellation."""
        for run in self.model.runs.values():
            places = [set(run.queued), set(run.finished), set(run.dead)]
            assert sum(map(len, places)) == len(set().union(*places))
            nowhere = set(range(run.cursor)).difference(*places, self.dataset[run.id])
            assert not nowhere or run.state in (RunState.CANCELLING, RunState.CANCELLED)

    @invariant()
    def limits_are_kept(self) -> None:
        for run in self.model.runs.values():
            assert run.claimed <= (run.spec.limits.in_flight or run.spec.conversations)

    def teardown(self) -> None:
        """Carry every run to its end, unless the example has failed before."""
        if sys.exc_info()[0] is not None:
            return
        for worker in list(self.model.leases):
            self.lease_runs_out(worker)
        self.register("last")
        self.reclaim("last")
        for _ in range(40):
            if not self.model.open:
                break
            self.carry_on()
            self.redis_holds_what_the_model_holds()
        self.nothing_is_left_over()

    def carry_on(self) -> None:
        """One round of all that goes on by itself, with everybody alive."""
        for run_id in sorted(self.model.open):
            self.commit(run_id, len(self.dataset[run_id]), [])
        for run_id in sorted(self.model.open):
            assert self.call(self.queue.resume(run_id)) == self.model.resume(run_id, None)
            self.feed_run(run_id, window=9, max_finished=9)
        self.redis_holds_what_the_model_holds()
        claimed = self.call(self.queue.claim("last", count=99, offers=UNBOUNDED))
        self.model.take("last", 99, UNBOUNDED, claimed)
        for claim in claimed.claims:
            self.finish_claim(claim, 0, 1)
        for run_id in sorted(self.model.open):
            records = self.call(self.queue.finished_records(run_id, limit=9))
            self.dataset[run_id] |= set(records)
            self.commit(run_id, len(self.dataset[run_id]), list(records))

    def nothing_is_left_over(self) -> None:
        kept = {self.queue.key(name) for name in ("runs", "workers")} | {self.queue.key("lease", "last")}
        kept |= {self.queue.key("idempotency", key) for key in self.model.idempotency}
        for run in self.model.runs.values():
            kept |= {self.queue.key("run", run.id), self.queue.key("dead", run.id)}
            everything = set(range(run.spec.conversations))
            if run.state is RunState.COMPLETED:
                assert self.dataset[run.id] | set(run.dead) == everything
            assert run.state.is_over
        assert set(held_by_redis(self.bench.text, self.queue)) <= kept


@pytest.fixture
def bench(redis_server: RedisServer) -> Iterator[Bench]:
    with (
        asyncio.Runner() as runner,
        redis.Redis.from_url(redis_server.url, decode_responses=True) as text,
        redis.Redis.from_url(redis_server.url) as raw,
    ):
        client = Redis.from_url(redis_server.url, decode_responses=True)
        deadline = time.monotonic() + 20
        while text.info("server")["uptime_in_seconds"] * 1000 <= RECLAIM_LEASE_MS:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield Bench(Queue(client), runner, text, raw)
        runner.run(client.aclose())


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_queue_does_what_its_model_does(bench: Bench) -> None:
    few_or_many = settings(
        max_examples=150,
        stateful_step_count=60,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large],
    )
    machine = cast("type[RuleBasedStateMachine]", lambda: QueueMachine(bench))
    run_state_machine_as_test(machine, settings=few_or_many)
