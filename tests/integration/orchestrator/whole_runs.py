"""Whole runs through API, writer and workers as processes: how tests ask for them and what they hold them against."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from platolm.conversation import ASSISTANT, USER
from platolm.spec import RunSpec
from services.orchestrator.queue.keys import DEFAULT_PREFIX
from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.chaos.undisturbed import content, undisturbed
from tests.integration.orchestrator.processes import Api, Process, wait_until
from tests.redis_server import RedisServer

MAX_TURNS = 8


@dataclass
class Orchestrator:
    """A queue, an API and a writer; `start_worker(simulator_urls, respondent_urls, **settings)` adds workers.

    Runs may name engines at `spare_port`, where nobody listens.
    """

    redis: RedisServer
    api_process: Process
    writer: Process
    api: Api
    data_dir: Path
    start_worker: Callable[..., Process]
    spare_port: int

    def submit(self, conversations: int, **fields: Any) -> str:
        """A run of short conversations; gives its id."""
        response = self.api.submit(spec(conversations, **fields))
        assert response.status_code == 201, response.text
        return str(response.json()["id"])

    def wait_at_least(self, run_id: str, **counts: int) -> None:
        """Until a run's progress has come so far."""

        def is_so_far() -> bool:
            progress = self.api.run(run_id)
            return all(progress[name] >= count for name, count in counts.items())

        wait_until(is_so_far, what=f"{counts}")

    def failed_attempts(self) -> list[int]:
        """Of every conversation that waits."""
        with redis.Redis.from_url(self.redis.url, decode_responses=True) as client:
            keys = [key for key in client.scan_iter(f"{DEFAULT_PREFIX}conversation:*") if not key.endswith(":turns")]
            return [int(str(client.hget(key, "attempts"))) for key in keys]

    def wait_paused(self, run_id: str, by: str) -> str:
        """Until somebody has paused a run, whose conversations are alive then; gives the reason."""
        wait_until(lambda: (self.api.run(run_id)["pause"] or {}).get("by") == by, what=f"paused by {by}")
        progress = self.api.run(run_id)
        assert (progress["state"], progress["dead"]) == ("paused", 0)
        return str(progress["pause"]["reason"])


def spec(conversations: int, **fields: Any) -> dict[str, Any]:
    """The body of a request for short conversations."""
    return {"spec": {"conversations": conversations, "endings": {"max_turns": MAX_TURNS}, **fields}}


def check_dataset(api: Api, run_id: str, conversations: int, timeout_s: float = 90.0) -> list[dict[str, Any]]:
    """Each conversation once, whole, strictly alternating, with nothing dead."""
    progress = api.wait_completed(run_id, timeout_s)
    assert progress["committed"] == progress["finished"] == conversations
    assert progress["dead"] == 0
    records = api.dataset(run_id)
    assert sorted(record["index"] for record in records) == list(range(conversations))
    assert len({record["id"] for record in records}) == conversations
    for record in records:
        names = [turn["from"] for turn in record["conversations"]]
        assert names == ["human", "gpt"] * (len(names) // 2)
        assert record["num_rounds"] == len(names) // 2
        assert len(record["turns"]) == len(names)
    return records


def check_undisturbed(
    orchestrator: Orchestrator, run_id: str, engines: Mapping[str, FakeEngine], timeout_s: float = 90.0
) -> list[dict[str, Any]]:
    """The same, and word for word what was to be said had nothing happened. `engines` by role, as they answer."""
    asked = RunSpec.model_validate(orchestrator.api.run(run_id)["spec"])
    records = check_dataset(orchestrator.api, run_id, asked.conversations, timeout_s)
    expected = undisturbed(run_id, asked, engines)
    assert {record["index"]: content(record) for record in records} == expected
    return records


def both(simulator: FakeEngine, respondent: FakeEngine) -> dict[str, FakeEngine]:
    return {USER: simulator, ASSISTANT: respondent}


def generated_twice(*engines: FakeEngine) -> int:
    """Utterances that engines finished more than once: an acknowledged one must never be among them."""
    return sum(count - 1 for engine in engines for count in engine.answered.values())
