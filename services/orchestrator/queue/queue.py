"""All that processes ask of Redis.

A run's conversations wait in its stream (their ids only); who works on one holds a claim with a random fencing token,
and every change to a conversation is one script that compares that token. Scripts compute their keys from the ids that
they are given, so this needs one Redis, not a Redis Cluster. Nothing newer than Redis 6.2 is used.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from typing import Any, cast

import orjson
from redis.asyncio import Redis
from redis.asyncio.client import PubSub

from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.runs import DeadConversation, PausedBy, RunProgress, RunState
from platolm.spec import RunSpec, SideSpec
from services.orchestrator.queue.answers import (
    Claim,
    Claimed,
    LeaseLostError,
    Offer,
    Outcome,
    QueuedConversation,
    QueuedDetail,
    Written,
)
from services.orchestrator.queue.chat_use import CHAT_SCRIPTS, ChatUse
from services.orchestrator.queue.connection import Scripts
from services.orchestrator.queue.keys import DEFAULT_PREFIX, KEYS, lua_keys
from services.orchestrator.queue.progress import progress_of
from services.orchestrator.queue.realism import NO_REPORT, RealismReport
from services.orchestrator.queue.reports import StampedReport, WorkerReport, recent_reports
from services.orchestrator.queue.summaries import run_summaries
from services.orchestrator.queue.waiting import queued_detail, queued_page

SCRIPT_NAMES = (
    "create_run", "feed", "pause", "resume", "cancel", "retry_dead", "register", "unregister", "renew", "claim",
    "place", "reclaim", "append", "finish", "release", "fail", "lose_engine", "commit", "report",
    "watch", "watched", "show", "account",
)  # fmt: skip

_SCRIPTS_FOLDER = files(__package__).joinpath("scripts")
API_POOL = "apis:"
"""Begins the keys of pools of chat APIs; no engine's URL begins so."""
_RETRY_BATCH = 64


class Queue:
    """One Redis as the orchestrator uses it. `redis` must decode responses."""

    def __init__(self, redis: Redis, *, prefix: str = DEFAULT_PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        prelude = lua_keys(prefix) + _script_source("prelude")
        own = {name: prelude + _script_source(name) for name in SCRIPT_NAMES}
        self._scripts = Scripts(redis, {**own, **CHAT_SCRIPTS})
        self.chat_use = ChatUse(self._call, self.key)

    def key(self, name: str, *ids: str) -> str:
        return self._prefix + KEYS[name].format(*ids)

    # runs

    async def create_run(
        self,
        run_id: str,
        spec: RunSpec,
        *,
        idempotency_key: str,
        digest: str,
        created_at: float,
        warnings: Sequence[str],
        expected_tokens: int | None = None,
        cost_estimate: str = "",
    ) -> tuple[str, str]:
        """Create the run unless the key is taken; gives the run and the request digest that hold the key.

        `expected_tokens` is what a conversation reserves on a replica until some have ended; default: its context.
        `cost_estimate` is an `EstimatedCost` in JSON, where there is one.
        """
        fields: dict[str, Any] = {
            "spec": spec.model_dump_json(),
            "state": RunState.RUNNING.value,
            "total": spec.conversations,
            "attempts": spec.retries.attempts,
            "lost_engines": spec.retries.lost_engines,
            "limit_in_flight": spec.limits.in_flight or 0,
            "limit_tokens": spec.limits.generated_tokens or 0,
            "limit_dead": spec.limits.dead or 0,
            "expected_tokens": expected_tokens or spec.endings.context_tokens,
            "pool_user": pool_key(spec.simulator),
            "pool_assistant": pool_key(spec.respondent),
            "cursor": 0,
            "committed": 0,
            "created_at": created_at,
            "warnings": json.dumps(list(warnings)),
            "cost_estimate": cost_estimate,
        }
        flat = [part for pair in fields.items() for part in pair]
        holder = await self._call("create_run", run_id, idempotency_key, digest, created_at, *flat)
        return holder[0], holder[1]

    async def find_idempotent(self, idempotency_key: str) -> tuple[str, str] | None:
        """The run and request digest that hold the key already."""
        run_id, digest = await self._redis.hmget(self.key("idempotency", idempotency_key), ["run", "digest"])
        return (str(run_id), str(digest)) if run_id else None

    async def run_ids(self) -> list[str]:
        """Newest first."""
        return cast("list[str]", await self._redis.zrevrange(self.key("runs"), 0, -1))

    async def active_runs(self) -> list[str]:
        """Runs whose conversations are handed out."""
        return cast("list[str]", await self._redis.lrange(self.key("active"), 0, -1))

    async def open_runs(self) -> list[str]:
        """Runs that are not over: running, paused or cancelling."""
        return sorted(cast("set[str]", await self._redis.smembers(self.key("open"))))

    async def run_spec(self, run_id: str) -> RunSpec | None:
        spec = await self._redis.hget(self.key("run", run_id), "spec")
        return RunSpec.model_validate_json(spec) if spec else None

    async def progress(self, run_id: str) -> RunProgress | None:
        """A consistent reading of one run, or None where there is no such run."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(self.key("run", run_id))
            pipe.hlen(self.key("dead", run_id))
            pipe.hgetall(self.key("accounts", run_id))
            pipe.hget(self.key("budget", run_id), "limit")
            fields, dead, accounts, budget = await pipe.execute()
        return progress_of(run_id, fields, dead=dead, accounts=accounts, budget=budget) if fields else None

    async def pause(self, run_id: str, by: PausedBy, reason: str) -> RunState | None:
        """Hand nothing more out; gives the state, which stays what it was where the run is over."""
        return _state(await self._call("pause", run_id, by.value, reason))

    async def resume(
        self, run_id: str, by: PausedBy | None = None, *, budget_nanos: int | None = None
    ) -> RunState | None:
        """Hand a paused run out again; with `by`, only where that paused it. From now on it has this budget."""
        return _state(await self._call("resume", run_id, by.value if by else "", budget_nanos or ""))

    async def state(self, run_id: str) -> RunState | None:
        """A run's state; None: no such run."""
        return _state(cast("str | None", await self._redis.hget(self.key("run", run_id), "state")))

    async def paused_by(self, run_id: str) -> PausedBy | None:
        """Who paused the run; None where it is not paused."""
        by = cast("str | None", await self._redis.hget(self.key("run", run_id), "pause_by"))
        return PausedBy(by) if by else None

    async def cancel(self, run_id: str) -> RunState | None:
        """Give up what is not finished."""
        return _state(await self._call("cancel", run_id))

    async def retry_dead(self, run_id: str) -> int | None:
        """Hand every dead conversation out again; gives how many. None: no such run."""
        if not await self._redis.exists(self.key("run", run_id)):
            return None
        indices = await self._redis.hkeys(self.key("dead", run_id))
        batches = [indices[start : start + _RETRY_BATCH] for start in range(0, len(indices), _RETRY_BATCH)]
        return sum([int(await self._call("retry_dead", run_id, *batch)) for batch in batches])

    async def dead_conversations(self, run_id: str) -> list[DeadConversation]:
        letters = await self._redis.hvals(self.key("dead", run_id))
        dead = (DeadConversation.model_validate(json.loads(letter)) for letter in letters)
        return sorted(dead, key=lambda letter: letter.index)

    async def dead_indices(self, run_id: str) -> list[int]:
        """The run's dead conversations, in order."""
        return sorted(map(int, await self._redis.hkeys(self.key("dead", run_id))))

    async def dead_letters(self, run_id: str, indices: Sequence[int]) -> list[str]:
        """As `dead_letter`, of those that are dead (still), in the order asked for."""
        if not indices:
            return []
        fields = [str(index) for index in indices]
        letters = cast("list[str | None]", await self._redis.hmget(self.key("dead", run_id), fields))
        return [letter for letter in letters if letter is not None]

    async def dead_letter(self, run_id: str, index: int) -> str | None:
        """A dead conversation as JSON: id, index, attempts, error, seed and turns (each JSON again)."""
        return cast("str | None", await self._redis.hget(self.key("dead", run_id), str(index)))

    async def queued_page(
        self, run_id: str, *, after: str = "", limit: int
    ) -> tuple[list[QueuedConversation], str | None]:
        """Conversations that wait or are worked on, in the order of feeding, and the cursor to go on at."""
        return await queued_page(self._redis, self.key, run_id, after=after, limit=limit)

    async def is_queued(self, conversation_id: str) -> bool:
        """Whether a conversation waits or is worked on."""
        return bool(await self._redis.exists(self.key("conversation", conversation_id)))

    async def queued_conversation(self, conversation_id: str) -> QueuedDetail | None:
        """One of them with its turns; None where it is not (or no longer) in the queue."""
        return await queued_detail(self._redis, self.key, conversation_id)

    # feeding

    async def cursor(self, run_id: str) -> int | None:
        """Index of the next conversation to be fed; None for an unknown run."""
        cursor = await self._redis.hget(self.key("run", run_id), "cursor")
        return None if cursor is None else int(cursor)

    async def waiting(self, run_id: str) -> int:
        """Conversations in the run's stream, claimed or not."""
        return int(await self._redis.xlen(self.key("stream", run_id)))

    async def feed(self, run_id: str, *, cursor: int, seeds: Sequence[str], window: int, max_finished: int) -> int:
        """Move conversations from `cursor` on into the stream, as far as the bounds allow; gives the new cursor.

        An empty seed passes its conversation over.
        """
        return int(await self._call("feed", run_id, cursor, window, max_finished, *seeds))

    # workers

    async def register(self, worker: str, *, lease_ms: int) -> None:
        await self._call("register", worker, lease_ms)

    async def unregister(self, worker: str) -> None:
        await self._call("unregister", worker)

    async def workers(self) -> int:
        """Incarnations whose claims stand."""
        return int(await self._redis.scard(self.key("workers")))

    async def renew(self, worker: str, *, lease_ms: int) -> dict[str, str]:
        """Renew the lease; gives the claims (conversation → token) that Redis holds for this worker.

        Raises:
            LeaseLostError: the claims were reclaimed.
        """
        held = await self._call("renew", worker, lease_ms)
        if held is None:
            raise LeaseLostError(worker)
        return dict(zip(held[::2], held[1::2], strict=True))

    async def report(self, worker: str, report: WorkerReport) -> None:
        """Tell how a worker does; in vain where its claims do not stand."""
        await self._call("report", worker, report.to_json())

    async def reports(self) -> dict[str, StampedReport]:
        """What workers said of themselves lately, by worker; nothing of those that are dead or cut off."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.time()
            pipe.hgetall(self.key("reports"))
            (seconds, microseconds), fields = await pipe.execute()
        return recent_reports(fields, int(seconds) + int(microseconds) / 1e6)

    async def claim(self, worker: str, *, count: int, offers: Mapping[str, Mapping[str, Sequence[Offer]]]) -> Claimed:
        """Own up to `count` conversations, of the runs with the fewest in flight first.

        `offers` holds, by role and by pool (`pool_key`), the replicas that may be used.

        Raises:
            LeaseLostError: this worker has no lease.
        """
        offered = orjson.dumps(
            {
                role: {pool: [[offer.url, offer.budget_tokens] for offer in pools] for pool, pools in by_pool.items()}
                for role, by_pool in offers.items()
            }
        )
        answer = await self._call("claim", worker, secrets.token_hex(8), count, offered)
        if answer is None:
            raise LeaseLostError(worker)
        rows, unknown_runs = answer
        claims = [
            Claim(cid, run, int(index), seed, token, turns, {USER: user, ASSISTANT: assistant}, lost)
            for cid, run, index, seed, token, turns, user, assistant, lost in rows
        ]
        return Claimed(claims, unknown_runs)

    async def place(self, conversation_id: str, token: str, role: str, urls: Sequence[str]) -> str | None:
        """Move a conversation's reservation to the least reserved of `urls`; None: the claim is not ours."""
        return cast("str | None", await self._call("place", conversation_id, token, role, *urls))

    async def reserved(self) -> dict[str, int]:
        """Tokens that conversations in flight may need, by replica."""
        found = cast("dict[str, str]", await self._redis.hgetall(self.key("reserved")))
        return {url: int(tokens) for url, tokens in found.items()}

    async def reclaim(self, worker: str, *, lease_ms: int) -> int:
        """Free the claims of dead workers, of which `worker`, which asks, is none; gives how many."""
        return int(await self._call("reclaim", lease_ms, worker))

    async def release(self, conversation_id: str, token: str) -> bool:
        return bool(await self._call("release", conversation_id, token))

    # conversations

    async def append(
        self, conversation_id: str, token: str, *, index: int, expected: int, turn: str, generated_tokens: int
    ) -> Written:
        """Record utterance number `expected` (from 0) of the run's conversation `index`."""
        return _written(await self._call("append", conversation_id, token, expected, turn, generated_tokens, index))

    async def finish(
        self,
        conversation_id: str,
        token: str,
        *,
        expected: int,
        record: str,
        reason: TerminationReason,
        held_tokens: int,
    ) -> Written:
        """End a conversation of `expected` utterances: its record waits for the dataset writer.

        `held_tokens` is what it needed of a KV cache; the run's next conversations reserve what its last ones needed.
        """
        return _written(await self._call("finish", conversation_id, token, expected, record, reason.value, held_tokens))

    async def fail(self, conversation_id: str, token: str, error: str) -> Outcome:
        """Count a failure: the conversation is handed out again, or dead."""
        return Outcome(await self._call("fail", conversation_id, token, error))

    async def lose_engine(self, conversation_id: str, token: str, error: str) -> int | Outcome:
        """Count an engine that went away while it was to answer; gives how many did in a row, without an utterance.

        Or STALE; or DEAD, for they were too many.
        """
        lost = int(await self._call("lose_engine", conversation_id, token, error))
        return lost if lost > 0 else Outcome.DEAD if lost else Outcome.STALE

    # the dataset writer

    async def finished_records(self, run_id: str, *, limit: int) -> dict[int, str]:
        """Some records that wait for the dataset, by index."""
        found: dict[int, str] = {}
        async for index, record in self._redis.hscan_iter(self.key("finished", run_id), count=limit):
            found[int(index)] = record
            if len(found) >= limit:
                break
        return found

    async def finished_record(self, run_id: str, index: int) -> str | None:
        """The record of a finished conversation, as JSON, while it waits for the dataset."""
        return cast("str | None", await self._redis.hget(self.key("finished", run_id), str(index)))

    async def num_finished_waiting(self, run_id: str) -> int:
        return int(await self._redis.hlen(self.key("finished", run_id)))

    async def commit(
        self, run_id: str, *, committed: int, indices: Iterable[int], realism: RealismReport | None = None
    ) -> RunState | None:
        """Forget records that are in the dataset; `committed` is how many that now holds in all. None: no such run.

        With `realism`, take in what was measured, and in the same step do what is to be done about it.
        """
        told = NO_REPORT if realism is None else realism.arguments()
        return _state(await self._call("commit", run_id, committed, *told, *indices))

    # what workers found at the engines

    async def publish_side(self, side: str, description: dict[str, Any]) -> None:
        await self._redis.hset(self.key("sides"), side, json.dumps(description))

    async def side(self, side: str) -> dict[str, Any] | None:
        found = await self._redis.hget(self.key("sides"), side)
        return json.loads(found) if found else None

    async def ping(self) -> None:
        await self._redis.ping()

    # what people watch

    def pubsub(self) -> PubSub:
        """A connection for messages of `key("events", run_id)` and of `key("partial", conversation_id)`.

        A run's are `INDEX TURN_INDEX TURN`, the turn as the worker recorded it in JSON, and `INDEX ended REASON`.
        """
        return self._redis.pubsub()

    def run_of_events(self, channel: str) -> str:
        """The run whose `key("events", run_id)` this is."""
        before, _, after = self.key("events", "*").partition("*")
        return channel.removeprefix(before).removesuffix(after)

    async def watch(self, conversation_id: str, *, for_s: int) -> None:
        """Have workers show this conversation's utterances while they are made, from their next look on."""
        await self._call("watch", conversation_id, for_s)

    async def watched(self) -> frozenset[str]:
        """The conversations that somebody watches."""
        return frozenset(await self._call("watched"))

    async def show(self, conversation_id: str, message: str) -> None:
        """Publish the utterance in the making to those who watch."""
        await self._call("show", conversation_id, message)

    async def summaries(self, run_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The fields of a `platolm.live_api.RunSummary` but the name, for each run that exists, read at one instant."""
        return await run_summaries(self._redis, self.key, run_ids)

    async def close(self) -> None:
        """Wait for calls that are on their way."""
        await self._scripts.close()

    async def _call(self, script: str, *args: Any) -> Any:
        return await self._scripts.call(script, *args)


def pool_key(side: SideSpec) -> str:
    """Names the replicas, or chat APIs, that a side of a run may use; empty: engines that the workers were given."""
    if side.apis:
        return API_POOL + ",".join(sorted(side.apis))
    return ",".join(side.endpoints or [])


def _script_source(name: str) -> str:
    return _SCRIPTS_FOLDER.joinpath(f"{name}.lua").read_text(encoding="utf-8")


def _state(answer: str | None) -> RunState | None:
    return None if answer is None else RunState(answer)


def _written(answer: Sequence[Any]) -> Written:
    state = RunState(answer[2]) if len(answer) > 2 else None
    return Written(Outcome(answer[0]), int(answer[1]), state)
