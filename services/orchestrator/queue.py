"""The queue on Redis: every key and every script in one place.

A run's conversations wait in its stream (their ids only); who works on one holds a claim with a random fencing token,
and every change to a conversation is one script that compares that token. Scripts compute their keys from the ids that
they are given, so this needs one Redis, not a Redis Cluster. Nothing newer than Redis 6.2 is used.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from typing import Any, cast

from redis.asyncio import Redis

from platolm.conversation import TerminationReason
from platolm.runs import CONVERSATION_ID_FORMAT, DeadConversation, RunProgress, RunSpec, RunState

GROUP = "workers"
"""The consumer group of every run's stream."""

KEYS = {
    "runs": "runs",  # zset: run → created_at
    "active": "active",  # list: runs with conversations left, in the order of service
    "run": "run:{}",  # hash: spec, counters, cursor
    "stream": "run:{}:stream",  # stream: index; an entry lives until its conversation has ended
    "orphans": "run:{}:orphans",  # list: indices to hand out again
    "finished": "run:{}:finished",  # hash: index → record, until it is in the dataset
    "dead": "run:{}:dead",  # hash: index → dead letter
    "events": "run:{}:events",  # channel: utterances as they complete
    "conversation": "conversation:{}",  # hash: run, index, entry, seed, attempts, token, worker
    "turns": "conversation:{}:turns",  # list: one JSON object an utterance
    "workers": "workers",  # set: incarnations whose claims stand
    "lease": "worker:{}:lease",  # string that expires
    "claims": "worker:{}:claims",  # hash: conversation → token
    "idempotency": "idempotency:{}",  # hash: run, digest
    "sides": "sides",  # hash: simulator, respondent → what workers found at the engines
}
DEFAULT_PREFIX = "platolm:"

_PACKAGE = "services.orchestrator"
_ENDED = "ended:"


class Outcome(StrEnum):
    """What a script says of an append, a finish or a failure."""

    OK = "ok"
    STALE = "stale"
    """The claim is somebody else's now: stop, write nothing."""
    SHORT = "short"
    """Redis holds fewer utterances than expected: it came back a moment older."""
    GONE = "gone"
    """The conversation has ended already."""
    REQUEUED = "requeued"
    DEAD = "dead"


@dataclass(frozen=True)
class Claim:
    """A conversation that this worker owns until the token changes. `turns` are the recorded utterances, as JSON."""

    conversation_id: str
    run_id: str
    index: int
    seed: str
    token: str
    turns: list[str]


@dataclass(frozen=True)
class Written:
    """A script's answer; `length` is the number of utterances that Redis holds."""

    outcome: Outcome
    length: int


class LeaseLostError(Exception):
    """This worker's claims were given to others; it must start over under a new name."""


class Queue:
    """All that processes ask of Redis. `redis` must decode responses."""

    def __init__(self, redis: Redis, *, prefix: str = DEFAULT_PREFIX) -> None:
        self._redis = redis
        self._prefix = prefix
        prelude = _generated_prelude(prefix) + _script_source("prelude")
        self._scripts = {name: redis.register_script(prelude + _script_source(name)) for name in SCRIPTS}

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
    ) -> tuple[str, str]:
        """Create the run unless the key is taken; gives the run and the request digest that hold the key."""
        fields: dict[str, Any] = {
            "spec": spec.model_dump_json(),
            "state": RunState.RUNNING.value,
            "total": spec.conversations,
            "max_attempts": spec.max_attempts,
            "cursor": 0,
            "committed": 0,
            "created_at": created_at,
            "warnings": json.dumps(list(warnings)),
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
        return cast("list[str]", await self._redis.lrange(self.key("active"), 0, -1))

    async def run_spec(self, run_id: str) -> RunSpec | None:
        spec = await self._redis.hget(self.key("run", run_id), "spec")
        return RunSpec.model_validate_json(spec) if spec else None

    async def progress(self, run_id: str) -> RunProgress | None:
        """A consistent reading of one run, or None where there is no such run."""
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(self.key("run", run_id))
            pipe.hlen(self.key("dead", run_id))
            pipe.llen(self.key("orphans", run_id))
            fields, dead, orphans = await pipe.execute()
        if not fields:
            return None
        delivered = await self._delivered(run_id) if fields["state"] == RunState.RUNNING else 0
        return _progress(run_id, fields, dead=dead, in_flight=max(0, delivered - orphans))

    async def _delivered(self, run_id: str) -> int:
        groups = await self._redis.xinfo_groups(self.key("stream", run_id)) if await self._has_stream(run_id) else []
        return sum(group["pending"] for group in groups)

    async def _has_stream(self, run_id: str) -> bool:
        return bool(await self._redis.exists(self.key("stream", run_id)))

    async def dead_conversations(self, run_id: str) -> list[DeadConversation]:
        letters = await self._redis.hvals(self.key("dead", run_id))
        dead = (DeadConversation.model_validate(json.loads(letter)) for letter in letters)
        return sorted(dead, key=lambda letter: letter.index)

    # feeding

    async def cursor(self, run_id: str) -> int | None:
        """Index of the next conversation to be fed; None for an unknown run."""
        cursor = await self._redis.hget(self.key("run", run_id), "cursor")
        return None if cursor is None else int(cursor)

    async def waiting(self, run_id: str) -> int:
        """Conversations in the run's stream, claimed or not."""
        return int(await self._redis.xlen(self.key("stream", run_id)))

    async def feed(self, run_id: str, *, cursor: int, seeds: Sequence[str], window: int, max_finished: int) -> int:
        """Move conversations from `cursor` on into the stream, as far as the bounds allow; gives the new cursor."""
        return int(await self._call("feed", run_id, cursor, window, max_finished, *seeds))

    # workers

    async def register(self, worker: str, *, lease_ms: int) -> None:
        await self._call("register", worker, lease_ms)

    async def unregister(self, worker: str) -> None:
        await self._call("unregister", worker)

    async def renew(self, worker: str, *, lease_ms: int) -> dict[str, str]:
        """Renew the lease; gives the claims (conversation → token) that Redis holds for this worker.

        Raises:
            LeaseLostError: the claims were reclaimed.
        """
        held = await self._call("renew", worker, lease_ms)
        if held is None:
            raise LeaseLostError(worker)
        return dict(zip(held[::2], held[1::2], strict=True))

    async def claim(self, worker: str, *, count: int) -> list[Claim]:
        """Own up to `count` conversations, one from each active run in turn.

        Raises:
            LeaseLostError: this worker has no lease.
        """
        rows = await self._call("claim", worker, secrets.token_hex(8), count)
        if rows is None:
            raise LeaseLostError(worker)
        return [Claim(cid, run, int(index), seed, token, turns) for cid, run, index, seed, token, turns in rows]

    async def reclaim(self, worker: str, *, lease_ms: int) -> int:
        """Free the claims of dead workers, of which `worker`, which asks, is none; gives how many."""
        return int(await self._call("reclaim", lease_ms, worker))

    async def release(self, conversation_id: str, token: str) -> bool:
        return bool(await self._call("release", conversation_id, token))

    # conversations

    async def append(
        self, conversation_id: str, token: str, *, expected: int, turn: str, generated_tokens: int, event: str
    ) -> Written:
        """Record utterance number `expected` (from 0)."""
        return _written(await self._call("append", conversation_id, token, expected, turn, generated_tokens, event))

    async def finish(
        self, conversation_id: str, token: str, *, expected: int, record: str, reason: TerminationReason
    ) -> Written:
        """End a conversation of `expected` utterances: its record waits for the dataset writer."""
        return _written(await self._call("finish", conversation_id, token, expected, record, reason.value))

    async def fail(self, conversation_id: str, token: str, error: str) -> Outcome:
        """Count a failure: the conversation is handed out again, or dead."""
        return Outcome(await self._call("fail", conversation_id, token, error))

    # the dataset writer

    async def finished_records(self, run_id: str, *, limit: int) -> dict[int, str]:
        """Some records that wait for the dataset, by index."""
        found: dict[int, str] = {}
        async for index, record in self._redis.hscan_iter(self.key("finished", run_id), count=limit):
            found[int(index)] = record
            if len(found) >= limit:
                break
        return found

    async def num_finished_waiting(self, run_id: str) -> int:
        return int(await self._redis.hlen(self.key("finished", run_id)))

    async def commit(self, run_id: str, *, committed: int, indices: Iterable[int]) -> RunState:
        """Forget records that are in the dataset; `committed` is how many that now holds in all."""
        return RunState(await self._call("commit", run_id, committed, *indices))

    # what workers found at the engines

    async def publish_side(self, side: str, description: dict[str, Any]) -> None:
        await self._redis.hset(self.key("sides"), side, json.dumps(description))

    async def side(self, side: str) -> dict[str, Any] | None:
        found = await self._redis.hget(self.key("sides"), side)
        return json.loads(found) if found else None

    async def ping(self) -> None:
        await self._redis.ping()

    def events(self) -> Any:
        """A pub/sub connection; subscribe it to `key("events", run_id)`."""
        return self._redis.pubsub()

    async def _call(self, script: str, *args: Any) -> Any:
        return await self._scripts[script](keys=[], args=list(args))


SCRIPTS = (
    "create_run", "feed", "register", "unregister", "renew", "claim", "reclaim",
    "append", "finish", "release", "fail", "commit",
)  # fmt: skip


def _generated_prelude(prefix: str) -> str:
    """`key_NAME(id)` for every key, the group and the conversation id, so that none is spelled in a script."""
    id_format = _lua_string(CONVERSATION_ID_FORMAT)
    lines = [f"local GROUP = {_lua_string(GROUP)}"]
    lines.append(f"local function conversation_id(run, index) return string.format({id_format}, run, index) end")
    for name, template in KEYS.items():
        before, placeholder, after = template.partition("{}")
        middle = ".. id .. " if placeholder else ".. "
        lines.append(
            f"local function key_{name}(id) return {_lua_string(prefix + before)} {middle}{_lua_string(after)} end"
        )
    return "\n".join(lines) + "\n"


def _lua_string(text: str) -> str:
    return json.dumps(text)


def _script_source(name: str) -> str:
    return files(_PACKAGE).joinpath("scripts", f"{name}.lua").read_text(encoding="utf-8")


def _written(answer: Sequence[Any]) -> Written:
    return Written(Outcome(answer[0]), int(answer[1]))


def _progress(run_id: str, fields: dict[str, str], *, dead: int, in_flight: int) -> RunProgress:
    return RunProgress(
        id=run_id,
        state=RunState(fields["state"]),
        spec=RunSpec.model_validate_json(fields["spec"]),
        created_at=float(fields["created_at"]),
        fed=int(fields["cursor"]),
        in_flight=in_flight,
        finished=int(fields.get("finished", 0)),
        committed=int(fields["committed"]),
        dead=dead,
        utterances=int(fields.get("utterances", 0)),
        generated_tokens=int(fields.get("generated_tokens", 0)),
        terminations={
            TerminationReason(name.removeprefix(_ENDED)): int(count)
            for name, count in fields.items()
            if name.startswith(_ENDED)
        },
        warnings=json.loads(fields.get("warnings", "[]")),
    )
