"""What the queue must do, in plain Python: the model that the state machine holds Redis against."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from platolm.conversation import ASSISTANT, USER
from platolm.runs import PausedBy, RunState, conversation_id
from platolm.spec import RunSpec
from services.orchestrator.queue import Claim, Claimed, Offer, Outcome
from services.orchestrator.queue.queue import pool_key
from tests.integration.orchestrator.queueing import Offers

ROLES = (USER, ASSISTANT)


@dataclass
class Held:
    """A claim that stands."""

    worker: str
    token: str
    need: int


@dataclass
class Conversation:
    """One that waits or is worked on."""

    run_id: str
    index: int
    seed: str
    turns: list[str] = field(default_factory=list)
    attempts: int = 0
    lost_engines: int = 0
    held: Held | None = None
    at: dict[str, str] = field(default_factory=dict)

    @property
    def id(self) -> str:
        return conversation_id(self.run_id, self.index)


@dataclass
class Letter:
    """A dead conversation."""

    attempts: int
    error: str
    seed: str
    turns: list[str]


@dataclass
class Run:
    """`queued` holds what is in the stream, in its order: `orphans` lost their worker, `fresh` never had one."""

    id: str
    spec: RunSpec
    expected_tokens: int
    state: RunState = RunState.RUNNING
    pause_by: PausedBy | None = None
    cursor: int = 0
    committed: int = 0
    finished_in_all: int = 0
    cancelled: int = 0
    utterances: int = 0
    tokens: int = 0
    tokens_at_resume: int = 0
    dead_at_resume: int = 0
    queued: dict[int, Conversation] = field(default_factory=dict)
    fresh: list[int] = field(default_factory=list)
    orphans: list[int] = field(default_factory=list)
    finished: dict[int, str] = field(default_factory=dict)
    dead: dict[int, Letter] = field(default_factory=dict)

    @property
    def claimed(self) -> int:
        return sum(conversation.held is not None for conversation in self.queued.values())

    @property
    def available(self) -> list[int]:
        return self.orphans or self.fresh

    def pools(self, offers: Offers) -> list[list[Offer]] | None:
        """The offered replicas, user's and assistant's; None where one pool was not offered at all."""
        asked = (offers[USER].get(pool_key(self.spec.simulator)), offers[ASSISTANT].get(pool_key(self.spec.respondent)))
        found = [pool for pool in asked if pool is not None]
        return found if len(found) == len(asked) else None


@dataclass
class QueueModel:
    """The queue's whole state. Methods do what the calls of the same name do, and give the same answers."""

    runs: dict[str, Run] = field(default_factory=dict)
    active: list[str] = field(default_factory=list)
    open: set[str] = field(default_factory=set)
    idempotency: dict[str, str] = field(default_factory=dict)
    leases: dict[str, bool] = field(default_factory=dict)
    """Registered workers, and whether their lease stands."""

    # runs

    def create_run(self, run_id: str, spec: RunSpec, key: str) -> str:
        if key in self.idempotency:
            return self.idempotency[key]
        self.idempotency[key] = run_id
        self.runs[run_id] = Run(run_id, spec, spec.endings.context_tokens)
        self.active.append(run_id)
        self.open.add(run_id)
        return run_id

    def feed(self, run_id: str, cursor: int, seeds: Sequence[str], window: int, max_finished: int) -> int:
        run = self.runs[run_id]
        if cursor != run.cursor or run.state is not RunState.RUNNING or len(run.finished) >= max_finished:
            return run.cursor
        for seed in seeds:
            if len(run.queued) >= window:
                break
            if seed:
                run.queued[run.cursor] = Conversation(run_id, run.cursor, seed)
                run.fresh.append(run.cursor)
            run.cursor += 1
        self._settle(run)
        return run.cursor

    def pause(self, run_id: str, by: PausedBy) -> RunState:
        run = self.runs[run_id]
        if run.state is RunState.RUNNING or (run.state is RunState.PAUSED and by is PausedBy.USER):
            run.state, run.pause_by = RunState.PAUSED, by
            self._withdraw(run)
        return run.state

    def resume(self, run_id: str, by: PausedBy | None) -> RunState:
        run = self.runs[run_id]
        if run.state is RunState.PAUSED and by in (None, run.pause_by):
            run.state, run.pause_by = RunState.RUNNING, None
            run.tokens_at_resume, run.dead_at_resume = run.tokens, len(run.dead)
            self.active.append(run_id)
            self._settle(run)
        return run.state

    def cancel(self, run_id: str) -> RunState:
        run = self.runs[run_id]
        if run.state in (RunState.RUNNING, RunState.PAUSED):
            run.state, run.pause_by = RunState.CANCELLING, None
            self._withdraw(run)
            run.queued, run.fresh, run.orphans = {}, [], []
            self._settle(run)
        return run.state

    def retry_dead(self, run_id: str, order: Sequence[int]) -> int:
        """`order` is that of Redis' hash, which is any."""
        run = self.runs[run_id]
        if run.state not in (RunState.RUNNING, RunState.PAUSED, RunState.COMPLETED) or not run.dead:
            return 0
        if run.state is RunState.COMPLETED:
            run.state = RunState.RUNNING
            self.active.append(run_id)
            self.open.add(run_id)
        assert sorted(order) == sorted(run.dead)
        for index in order:
            letter = run.dead[index]
            run.queued[index] = Conversation(run_id, index, letter.seed, list(letter.turns))
            run.fresh.append(index)
        retried, run.dead, run.dead_at_resume = len(run.dead), {}, 0
        return retried

    def commit(self, run_id: str, committed: int, indices: Sequence[int]) -> RunState:
        run = self.runs[run_id]
        for index in indices:
            run.finished.pop(index, None)
        run.committed = max(run.committed, committed)
        run.finished_in_all = min(run.spec.conversations, run.committed + len(run.finished))
        self._settle(run)
        return run.state

    # workers

    def register(self, worker: str) -> None:
        self.leases[worker] = True

    def unregister(self, worker: str) -> None:
        for conversation in self.held_by(worker):
            self._requeue(conversation)
        self.leases.pop(worker, None)

    def expire(self, worker: str) -> None:
        if worker in self.leases:
            self.leases[worker] = False

    def renew(self, worker: str) -> dict[str, str] | None:
        if worker not in self.leases:
            return None
        self.leases[worker] = True
        return {c.id: c.held.token for c in self.held_by(worker) if c.held is not None}

    def reclaim(self, asking: str) -> int:
        if asking in self.leases:
            self.leases[asking] = True
        freed = 0
        for worker in [worker for worker, stands in self.leases.items() if not stands]:
            for conversation in self.held_by(worker):
                self._record_failure(conversation, "its worker died")
                freed += 1
            del self.leases[worker]
        return freed

    def held_by(self, worker: str) -> list[Conversation]:
        return [c for c in self.conversations() if c.held is not None and c.held.worker == worker]

    def conversations(self) -> list[Conversation]:
        return [conversation for run in self.runs.values() for conversation in run.queued.values()]

    def reserved(self) -> dict[str, int]:
        """What the claims that stand have reserved, and nothing besides."""
        tokens: dict[str, int] = {}
        for conversation in self.conversations():
            for url in conversation.at.values() if conversation.held else ():
                assert conversation.held is not None
                tokens[url] = tokens.get(url, 0) + conversation.held.need
        return tokens

    # claims

    def take(self, worker: str, count: int, offers: Offers, claimed: Claimed) -> None:
        """Check that what Redis handed out, in this order, is what it should hand out; then it is handed out."""
        assert len(claimed.claims) <= count
        assert sorted(claimed.unknown_runs) == sorted(r for r in self.active if self.runs[r].pools(offers) is None)
        for claim in claimed.claims:
            servable = self._servable(offers)
            fewest = min(run.claimed for run in servable)
            assert claim.run_id in [run.id for run in servable if run.claimed == fewest]
            self._take_one(worker, claim, offers)
        assert len(claimed.claims) == count or not self._servable(offers), "somebody could have been served"

    def _take_one(self, worker: str, claim: Claim, offers: Offers) -> None:
        run = self.runs[claim.run_id]
        assert claim.index == run.available[0], "those that lost their worker first, else in the order of feeding"
        conversation = run.queued[run.available.pop(0)]
        assert (claim.seed, claim.turns) == (conversation.seed, conversation.turns)
        assert claim.lost_engines == conversation.lost_engines
        self._check_placement(run, conversation, claim.placed, offers)
        conversation.held = Held(worker, claim.token, run.expected_tokens)
        conversation.at = dict(claim.placed)

    def _servable(self, offers: Offers) -> list[Run]:
        reserved = self.reserved()
        found = []
        for run in (self.runs[run_id] for run_id in self.active):
            pools = run.pools(offers)
            free = run.claimed < (run.spec.limits.in_flight or math.inf)
            if free and run.available and pools and _placeable(pools, reserved, run.expected_tokens):
                found.append(run)
        return found

    def _check_placement(self, run: Run, conversation: Conversation, placed: Mapping[str, str], offers: Offers) -> None:
        """Enough room, the replica where it was before, else the one with the least reserved tokens."""
        pools, reserved = run.pools(offers), self.reserved()
        assert pools is not None
        serves_both = {offer.url for offer in pools[0]} & {offer.url for offer in pools[1]}
        for role, pool in zip(ROLES, pools, strict=True):
            need = run.expected_tokens * (2 if len(set(placed.values())) == 1 else 1)
            assert placed[role] in _with_room(pool, reserved, need if role == ASSISTANT else run.expected_tokens)
            if serves_both:
                continue
            roomy = _with_room(pool, reserved, run.expected_tokens)
            if conversation.at.get(role) in roomy:
                assert placed[role] == conversation.at[role]
            else:
                assert reserved.get(placed[role], 0) == min(reserved.get(url, 0) for url in roomy)

    # conversations

    def owned(self, claim: Claim) -> Conversation | None:
        """The conversation of a claim, if the claim still stands."""
        run = self.runs.get(claim.run_id)
        conversation = run.queued.get(claim.index) if run else None
        stands = conversation and conversation.held and conversation.held.token == claim.token
        return conversation if stands else None

    def is_queued(self, claim: Claim) -> bool:
        """Whether the claim's conversation waits or is worked on, by whomever."""
        return claim.run_id in self.runs and claim.index in self.runs[claim.run_id].queued

    def append(self, claim: Claim, expected: int, turn: str, tokens: int) -> tuple[Outcome, int]:
        conversation = self.owned(claim)
        if conversation is None:
            return Outcome.STALE, len(self._turns(claim))
        turns, run = conversation.turns, self.runs[claim.run_id]
        if len(turns) < expected:
            return Outcome.SHORT, len(turns)
        if len(turns) > expected:
            repeated = len(turns) == expected + 1 and turns[-1] == turn
            return Outcome.OK if repeated else Outcome.STALE, len(turns)
        turns.append(turn)
        conversation.attempts = conversation.lost_engines = 0
        run.utterances += 1
        run.tokens += tokens
        limit = run.spec.limits.generated_tokens
        if limit and run.tokens - run.tokens_at_resume >= limit:
            self._pause_at_limit(run)
        return Outcome.OK, len(turns)

    def finish(self, claim: Claim, expected: int, record: str, tokens: int) -> tuple[Outcome, int]:
        run = self.runs.get(claim.run_id)
        if run is None or claim.index not in run.queued:
            return Outcome.GONE, 0
        length = len(self._turns(claim))
        if self.owned(claim) is None:
            return Outcome.STALE, length
        if length < expected:
            return Outcome.SHORT, length
        run.finished[claim.index] = record
        run.finished_in_all += 1
        run.expected_tokens = max(1, math.ceil(run.expected_tokens + (tokens - run.expected_tokens) / 16))
        del run.queued[claim.index]
        return Outcome.OK, length

    def fail(self, claim: Claim, error: str) -> Outcome:
        conversation = self.owned(claim)
        return Outcome.STALE if conversation is None else self._record_failure(conversation, error)

    def lose_engine(self, claim: Claim, error: str) -> int | Outcome:
        conversation = self.owned(claim)
        if conversation is None:
            return Outcome.STALE
        conversation.lost_engines += 1
        if conversation.lost_engines < self.runs[claim.run_id].spec.retries.lost_engines:
            return conversation.lost_engines
        error = f"{conversation.lost_engines} engines were lost while they were to answer it, the last one: {error}"
        self._bury(conversation, error, conversation.lost_engines)
        return Outcome.DEAD

    def release(self, claim: Claim) -> bool:
        conversation = self.owned(claim)
        if conversation is not None:
            self._requeue(conversation)
        return conversation is not None

    def place(self, claim: Claim, role: str, urls: Sequence[str], chosen: str | None) -> None:
        """Check where Redis moved a conversation to; then it is there."""
        conversation = self.owned(claim)
        if conversation is None or not urls:
            assert chosen is None
            return
        reserved = self.reserved()
        assert chosen is not None
        assert chosen in urls
        assert reserved.get(chosen, 0) == min(reserved.get(url, 0) for url in urls)
        conversation.at[role] = chosen

    def _turns(self, claim: Claim) -> list[str]:
        run = self.runs.get(claim.run_id)
        conversation = run.queued.get(claim.index) if run else None
        return conversation.turns if conversation else []

    # what several calls share

    def _requeue(self, conversation: Conversation) -> None:
        conversation.held = None
        self.runs[conversation.run_id].orphans.append(conversation.index)

    def _record_failure(self, conversation: Conversation, error: str) -> Outcome:
        run = self.runs[conversation.run_id]
        conversation.attempts += 1
        if conversation.attempts < run.spec.retries.attempts:
            self._requeue(conversation)
            return Outcome.REQUEUED
        self._bury(conversation, error, conversation.attempts)
        return Outcome.DEAD

    def _bury(self, conversation: Conversation, error: str, attempts: int) -> None:
        run = self.runs[conversation.run_id]
        del run.queued[conversation.index]
        run.dead[conversation.index] = Letter(attempts, error, conversation.seed, conversation.turns)
        limit = run.spec.limits.dead
        if limit and len(run.dead) - run.dead_at_resume >= limit:
            self._pause_at_limit(run)
        self._settle(run)

    def _pause_at_limit(self, run: Run) -> None:
        if run.state is RunState.RUNNING:
            self.pause(run.id, PausedBy.LIMIT)

    def _withdraw(self, run: Run) -> None:
        if run.id in self.active:
            self.active.remove(run.id)

    def _settle(self, run: Run) -> None:
        if run.state.is_over or run.queued or run.finished:
            return
        left = run.spec.conversations - run.committed - len(run.dead)
        if run.state is RunState.CANCELLING:
            run.state, run.cancelled = RunState.CANCELLED, max(0, left)
        elif left <= 0 and run.cursor >= run.spec.conversations:
            run.state, run.pause_by = RunState.COMPLETED, None
        else:
            return
        self._withdraw(run)
        self.open.discard(run.id)


def _with_room(pool: Sequence[Offer], reserved: Mapping[str, int], need: int) -> list[str]:
    """Replicas that may take `need` tokens more; an empty one may take any number."""
    return [
        offer.url
        for offer in pool
        if not reserved.get(offer.url)
        or not offer.budget_tokens
        or reserved[offer.url] + need <= offer.budget_tokens
    ]  # fmt: skip


def _placeable(pools: Sequence[Sequence[Offer]], reserved: Mapping[str, int], need: int) -> bool:
    """Whether the user's side has room, and then the assistant's."""
    users = _with_room(pools[0], reserved, need)
    if not users:
        return False
    user = min(users, key=lambda url: reserved.get(url, 0))
    same = [offer for offer in pools[1] if offer.url == user]
    others = [offer for offer in pools[1] if offer.url != user]
    return bool(_with_room(same, reserved, 2 * need) or _with_room(others, reserved, need))
