"""Redis, API and writer for several tests, each with workers and engines of its own, and what a run must come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platolm.conversation import ASSISTANT, USER
from platolm.dataset import read_records
from platolm.spec import RunSpec, sampling_seed
from tests.fakes.engine import FakeEngine
from tests.fakes.engine_process import EngineProcess
from tests.integration.orchestrator.chaos.undisturbed import Record, content, undisturbed
from tests.integration.orchestrator.processes import (
    Api,
    Process,
    api_of,
    api_process,
    wait_until,
    worker_process,
    writer_process,
)
from tests.redis_server import RedisServer

Engine = FakeEngine | EngineProcess

MODELS = {USER: "socratic", ASSISTANT: "platolm"}
MAX_TURNS = 6
MAX_IN_FLIGHT = 16
WORKER: dict[str, Any] = {
    "lease_s": 2,
    "refresh_s": 0.3,
    "poll_interval_s": 0.05,
    "drain_timeout_s": 1,
    "max_in_flight": MAX_IN_FLIGHT,
}
WRITER: dict[str, Any] = {"segment_age_s": 0.1, "poll_interval_s": 0.05}


@dataclass
class SmallStack:
    """What runs without workers. `said_by` tells what the fake engines say, without asking them."""

    redis: RedisServer
    api: Api
    writer: Process
    data_dir: Path
    said_by: Mapping[str, FakeEngine]
    _submitted: list[str] = field(default_factory=list)

    def submit(self, conversations: int, *, seeds: Sequence[Mapping[str, Any]] = (), **spec: Any) -> str:
        """A run of `MAX_TURNS` utterances a conversation unless its endings are given; gives its id."""
        endings = {"max_turns": MAX_TURNS, "repetition": False, **spec.pop("endings", {})}
        body = {"spec": {"conversations": conversations, "endings": endings, **spec}, "seeds": list(seeds)}
        response = self.api.submit(body)
        assert response.status_code == 201, response.text
        run_id: str = response.json()["id"]
        self._submitted.append(run_id)
        return run_id

    def wait(self, run_id: str, condition: Callable[[dict[str, Any]], bool], what: str) -> dict[str, Any]:
        """The run's progress once it is as wanted."""
        seen: list[dict[str, Any]] = []

        def holds() -> bool:
            seen[:] = [self.api.run(run_id)]
            return condition(seen[0])

        wait_until(holds, what=what)
        return seen[0]

    def wait_utterances(self, run_id: str, at_least: int) -> dict[str, Any]:
        return self.wait(run_id, lambda run: run["utterances"] >= at_least, f"{at_least} utterances")

    def wait_paused(self, run_id: str, by: str) -> str:
        """The reason of a pause."""
        pause: dict[str, str] = self.wait(run_id, lambda run: run["state"] == "paused", "a pause")["pause"]
        assert pause["by"] == by, pause
        return pause["reason"]

    def check_completed(self, run_id: str) -> list[Record]:
        """Each conversation once and as if nothing had happened, each utterance recorded once, nothing dead.

        For free runs that nothing but the turn limit ends.
        """
        progress = self.api.wait_completed(run_id)
        spec = RunSpec.model_validate(progress["spec"])
        records = self.records(run_id)
        assert [record["index"] for record in records] == list(range(spec.conversations))
        expected = undisturbed(run_id, spec, self.said_by)
        assert {record["index"]: content(record) for record in records} == expected
        counts = {name: progress[name] for name in ("committed", "finished", "dead", "in_flight", "utterances")}
        assert counts == {
            "committed": spec.conversations,
            "finished": spec.conversations,
            "dead": 0,
            "in_flight": 0,
            "utterances": sum(len(record["turns"]) for record in records),
        }
        return records

    def records(self, run_id: str) -> list[Record]:
        """The dataset, by index."""
        return sorted(read_records(self.data_dir / "runs" / run_id), key=lambda record: int(record["index"]))

    def cancel_all(self) -> None:
        """So that what one test leaves behind is not the next one's."""
        for run_id in self._submitted:
            if self.api.run(run_id)["state"] in ("running", "paused"):
                self.api.act(run_id, "cancel")
        self._submitted.clear()


@contextmanager
def small_stack(folder: Path, tokenizer_folder: Path) -> Iterator[SmallStack]:
    """Run while entered; datasets lie under `folder`/data."""
    with ExitStack() as ending:
        redis = RedisServer(folder / "redis")
        redis.start()
        ending.callback(redis.stop)
        api = api_process(folder, redis.url).start()
        ending.callback(api.end)
        writer = writer_process(folder, redis.url, **WRITER).start()
        ending.callback(writer.end)
        said_by = {role: FakeEngine(tokenizer_folder, model) for role, model in MODELS.items()}
        yield SmallStack(redis, api_of(api), writer, folder / "data", said_by)


@dataclass
class Workers:
    """Starts workers for one test."""

    stack: SmallStack
    folder: Path
    started: list[Process] = field(default_factory=list)

    def start(self, simulators: Sequence[Engine], respondents: Sequence[Engine], **settings: Any) -> Process:
        process = self.prepare(simulators, respondents, **settings)
        return process.start()

    def prepare(self, simulators: Sequence[Engine], respondents: Sequence[Engine], **settings: Any) -> Process:
        """A worker that is not started yet; it ends with the others."""
        urls = [",".join(engine.url for engine in engines) for engines in (simulators, respondents)]
        name = f"worker{len(self.started)}"
        process = worker_process(self.folder, self.stack.redis.url, *urls, name=name, **{**WORKER, **settings})
        self.started.append(process)
        return process


@contextmanager
def workers_of(stack: SmallStack, folder: Path) -> Iterator[Workers]:
    """Workers for one test; its runs and they end with it."""
    workers = Workers(stack, folder)
    try:
        yield workers
    finally:
        stack.cancel_all()
        for process in workers.started:
            process.end()


def repeats(*engines: FakeEngine) -> int:
    """Requests beyond the first of each utterance, those left out that were refused before any work."""
    return sum(count - 1 for engine in engines for count in engine.requests.values())


def answered_twice(*engines: FakeEngine) -> int:
    return sum(count - 1 for engine in engines for count in engine.answered.values())


def asked_where(spec: RunSpec, engines: Iterable[Engine]) -> dict[int, list[str]]:
    """For each conversation the engines that its utterances were asked of, by URL, in the order of asking."""
    conversations = {
        sampling_seed(spec.seed, index, turn): index
        for index in range(spec.conversations)
        for turn in range(spec.endings.max_turns or 0)
    }
    asked = sorted((at, conversations[seed], engine.url) for engine in engines for at, seed in _asked(engine))
    found: defaultdict[int, list[str]] = defaultdict(list)
    for _, index, url in asked:
        found[index].append(url)
    return dict(found)


def _asked(engine: Engine) -> Iterator[tuple[float, int]]:
    if isinstance(engine, EngineProcess):
        yield from ((request.at, request.seed) for request in engine.asked())
        return
    for (_, seed), times in list(engine.asked_at.items()):
        yield from ((at, seed) for at in times)
