"""Everything that a Redis holds for the queue, as it is and as the model says it must be."""

from __future__ import annotations

import json
from typing import Any, cast

from redis import Redis

from platolm.conversation import ASSISTANT, USER
from platolm.runs import RunState
from services.orchestrator.queue import Queue
from tests.integration.orchestrator.queue_model import Conversation, QueueModel, Run

Contents = dict[str, Any]
"""Keys and values; a key that Redis does not have is left out."""

RUN_FIELDS = (
    "state", "pause_by", "cursor", "committed", "claimed", "finished", "cancelled", "utterances", "generated_tokens",
    "tokens_at_resume", "dead_at_resume", "expected_tokens",
)  # fmt: skip
"""What changes in a run's hash, but for the words of a pause and the counts of endings."""


def held_by_redis(redis: Redis, queue: Queue) -> Contents:
    """What Redis holds. Of a run's hash `RUN_FIELDS` without zeros, of a stream the indices without ids."""
    keys = sorted(cast("list[str]", redis.keys("*")))
    with redis.pipeline() as pipe:
        for key in keys:
            pipe.type(key)
        kinds = pipe.execute()
    with redis.pipeline() as pipe:
        for key, kind in zip(keys, kinds, strict=True):
            _read(pipe, key, kind)
        values = pipe.execute()
    found = {key: _plain(kind, value) for key, kind, value in zip(keys, kinds, values, strict=True)}
    return _comparable(found, queue)


def _read(pipe: Any, key: str, kind: str) -> None:
    reads = {
        "hash": lambda: pipe.hgetall(key),
        "list": lambda: pipe.lrange(key, 0, -1),
        "set": lambda: pipe.smembers(key),
        "zset": lambda: pipe.zrange(key, 0, -1),
        "stream": lambda: pipe.xrange(key),
        "string": lambda: pipe.get(key),
    }
    reads[kind]()


def _plain(kind: str, value: Any) -> Any:
    if kind == "stream":
        return [fields["index"] for _, fields in value]
    return set(value) if kind in ("set", "zset") else value


def _comparable(found: Contents, queue: Queue) -> Contents:
    runs = found.get(queue.key("runs"), set())
    for run_id in runs:
        fields = found[queue.key("run", run_id)]
        found[queue.key("run", run_id)] = {name: fields[name] for name in RUN_FIELDS if fields.get(name, "0") != "0"}
        letters = found.get(queue.key("dead", run_id), {})
        for index, letter in letters.items():
            told = json.loads(letter)
            letters[index] = (told["attempts"], told["error"], told["seed"], json.loads(told["turns"]))
    for key, value in found.items():
        if key.startswith(queue.key("conversation", "")) and isinstance(value, dict):
            value.pop("entry", None)
    return found


def held_by_model(model: QueueModel, queue: Queue) -> Contents:
    """The same as the model has it."""
    contents: Contents = {
        queue.key("runs"): set(model.runs),
        queue.key("active"): list(model.active),
        queue.key("open"): set(model.open),
        queue.key("workers"): set(model.leases),
        queue.key("reserved"): {url: str(tokens) for url, tokens in model.reserved().items()},
    }
    for key, run_id in model.idempotency.items():
        contents[queue.key("idempotency", key)] = {"run": run_id, "digest": "d"}
    for worker, stands in model.leases.items():
        contents[queue.key("lease", worker)] = "1" if stands else ""
        contents[queue.key("claims", worker)] = {c.id: c.held.token for c in model.held_by(worker) if c.held}
    for run in model.runs.values():
        contents |= _run_contents(run, queue)
    return {key: value for key, value in contents.items() if value or key in _streams(model, queue)}


def _run_contents(run: Run, queue: Queue) -> Contents:
    values = {
        "state": run.state.value,
        "pause_by": run.pause_by.value if run.pause_by else 0,
        "cursor": run.cursor,
        "committed": run.committed,
        "claimed": run.claimed,
        "finished": run.finished_in_all,
        "cancelled": run.cancelled,
        "utterances": run.utterances,
        "generated_tokens": run.tokens,
        "tokens_at_resume": run.tokens_at_resume,
        "dead_at_resume": run.dead_at_resume,
        "expected_tokens": run.expected_tokens,
    }
    contents: Contents = {
        queue.key("run", run.id): {name: str(value) for name, value in values.items() if value},
        queue.key("stream", run.id): [str(index) for index in run.queued],
        queue.key("orphans", run.id): [str(index) for index in run.orphans],
        queue.key("finished", run.id): {str(index): record for index, record in run.finished.items()},
        queue.key("dead", run.id): {str(i): (at.attempts, at.error, at.seed, at.turns) for i, at in run.dead.items()},
    }
    for conversation in run.queued.values():
        contents[queue.key("conversation", conversation.id)] = _conversation_fields(conversation)
        contents[queue.key("turns", conversation.id)] = list(conversation.turns)
    return contents


def _conversation_fields(conversation: Conversation) -> dict[str, str]:
    fields = {
        "run": conversation.run_id,
        "index": str(conversation.index),
        "seed": conversation.seed,
        "attempts": str(conversation.attempts),
        "lost_engines": str(conversation.lost_engines) if conversation.lost_engines else None,
        "at_user": conversation.at.get(USER),
        "at_assistant": conversation.at.get(ASSISTANT),
    }
    if conversation.held is not None:
        held = conversation.held
        fields |= {"token": held.token, "worker": held.worker, "need": str(held.need)}
    return {name: value for name, value in fields.items() if value is not None}


def _streams(model: QueueModel, queue: Queue) -> set[str]:
    """Streams exist, empty or not, for as long as their run hands conversations out or may do so again."""
    live = (RunState.RUNNING, RunState.PAUSED)
    return {queue.key("stream", run.id) for run in model.runs.values() if run.state in live}
