"""A stack whose runs ask chat APIs: three scripted ones, the operator's files, and what a run must come to."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import redis

from platolm.chat_apis.endpoints import choose
from platolm.conversation import ASSISTANT, USER, Message
from platolm.spec import RunSpec, Seed, seed_position, speaker_profile, told_of
from services.orchestrator.queue.keys import DEFAULT_PREFIX, KEYS
from tests.fakes.openai_server import MODEL, Body, OpenAIServer
from tests.fakes.rate_window import RateWindow
from tests.integration.orchestrator.processes import Api, Process, api_of, api_process, worker_process, writer_process
from tests.integration.orchestrator.small_stack import MAX_TURNS, WORKER, WRITER, SmallStack
from tests.redis_server import RedisServer, free_port

ASKER, FIRST, SECOND = "asker", "first", "second"
KEYS_OF = {name: f"sk-secret-of-{name}" for name in (ASKER, FIRST, SECOND)}
INPUT, OUTPUT = 1000.0, 3000.0
"""Of a million tokens: a prompt token costs a thousandth, a generated one three."""
MAX_TOKENS = 16
SEEDS = [{"question": f"What is the word number {number}?"} for number in range(5)]
RUN: dict[str, Any] = {
    "seed_mode": "question",
    "simulator": {"profile": "roleplay", "apis": {ASKER: 1}, "sampling": {"max_tokens": MAX_TOKENS}},
    "respondent": {"profile": "chat", "apis": {FIRST: 3, SECOND: 1}, "sampling": {"max_tokens": MAX_TOKENS}},
}


def says(name: str, body: Body) -> str:
    """Six words that depend on the messages alone."""
    digest = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
    return " ".join([name, *(digest[start : start + 6] for start in range(0, 30, 6))])


@dataclass
class OutsideStack:
    """Redis, API and writer, and the APIs by name; `worker` starts workers without any engine."""

    stack: SmallStack
    apis: Mapping[str, OpenAIServer]
    folder: Path
    files: Mapping[str, Path]
    workers: list[Process] = field(default_factory=list)

    def worker(self, **settings: Any) -> Process:
        return self.prepared(**settings).start()

    def prepared(self, **settings: Any) -> Process:
        """A worker that is not started yet, and knows every key."""
        name = f"worker{len(self.workers)}"
        process = worker_process(
            self.folder, self.stack.redis.url, "", "", name=name, **{**WORKER, **self.files, **settings}
        )
        process.env |= {f"KEY_OF_{api.upper()}": key for api, key in KEYS_OF.items()}
        self.workers.append(process)
        return process

    def submit(self, conversations: int, **fields: Any) -> str:
        return self.stack.submit(conversations, seeds=SEEDS, **{**RUN, **fields})

    @property
    def api(self) -> Api:
        return self.stack.api

    def chosen(self, run_id: str) -> dict[int, str]:
        """Which respondent each conversation of a run asks where all do well."""
        spec = self.spec(run_id)
        return {index: str(choose(spec.respondent.apis, spec.seed, index)) for index in range(spec.conversations)}

    def spec(self, run_id: str) -> RunSpec:
        return RunSpec.model_validate(self.api.run(run_id)["spec"])

    def check_completed(self, run_id: str, names: Mapping[int, str] | None = None) -> list[dict[str, Any]]:
        """Each conversation once and word for word what its API says; `names` by index, where not as `chosen`."""
        progress = self.api.wait_completed(run_id)
        spec, records = self.spec(run_id), self.stack.records(run_id)
        names = names or self.chosen(run_id)
        assert (progress["dead"], progress["in_flight"], progress["pause"]) == (0, 0, None)
        assert [record["index"] for record in records] == list(range(spec.conversations))
        for record in records:
            said = [turn["value"] for turn in record["conversations"]]
            assert said == self._expected(spec, record["index"], names[record["index"]])
            assert [turn["api"] for turn in record["turns"]] == [None, *[names[record["index"]], ASKER] * 3][:MAX_TURNS]
            assert (record["respondent"]["model"], record["simulator"]["model"]) == (MODEL, MODEL)
        return records

    def _expected(self, spec: RunSpec, index: int, respondent: str) -> list[str]:
        seed = Seed(**SEEDS[seed_position(index, spec, len(SEEDS))])
        turns = [Message(USER, seed.question or "")]
        while len(turns) < MAX_TURNS:
            role, name = (ASSISTANT, respondent) if len(turns) % 2 else (USER, ASKER)
            side = spec.side(role)
            told = told_of(side, seed, spec.seed_mode)
            messages = speaker_profile(side.profile).messages(turns, told)
            turns.append(Message(role, self.apis[name].says({"messages": messages})))
        return [turn.content for turn in turns]

    def num_asked(self) -> int:
        return sum(len(server.asked) for server in self.apis.values())

    def repeats(self) -> int:
        """Requests that were made before, word for word."""
        bodies = Counter(json.dumps(body, sort_keys=True) for server in self.apis.values() for body in server.asked)
        return sum(count - 1 for count in bodies.values())

    def cost_of(self, bodies: Sequence[tuple[str, Body]]) -> float:
        """What answers to these cost."""
        words = [(_words(body), len(self.apis[name].says(body).split())) for name, body in bodies]
        return sum(prompt * INPUT + said * OUTPUT for prompt, said in words) / 1e6

    def budget(self, run_id: str) -> dict[str, str]:
        """A run's budget as Redis has it."""
        with redis.Redis.from_url(self.stack.redis.url, decode_responses=True) as client:
            found: dict[str, str] = client.hgetall(DEFAULT_PREFIX + KEYS["budget"].format(run_id))
        return found


def _words(body: Body) -> int:
    return sum(len(message["content"].split()) for message in body["messages"])


@contextmanager
def outside_stack(folder: Path) -> Iterator[OutsideStack]:
    """Run while entered."""
    with ExitStack() as ending:
        apis = {name: ending.enter_context(OpenAIServer().running()) for name in KEYS_OF}
        files = _operator_files(folder, apis)
        server = RedisServer(folder / "redis")
        server.start()
        ending.callback(server.stop)
        api = api_process(folder, server.url, **files).start()
        ending.callback(api.end)
        writer = writer_process(folder, server.url, **WRITER).start()
        ending.callback(writer.end)
        yield OutsideStack(SmallStack(server, api_of(api), writer, folder / "data", {}), apis, folder, files)


def anew(outside: OutsideStack, folder: Path) -> OutsideStack:
    """The same for another test: every API as it was at first, workers in a folder of their own."""
    for name, server in outside.apis.items():
        server.says = partial(says, name)
        server.api_key, server.latency_s, server.requests = KEYS_OF[name], 0.0, RateWindow()
        server.spoilers.clear()
        server.asked.clear()
        server.num_answered = server.most_in_flight = 0
    return OutsideStack(outside.stack, outside.apis, folder, outside.files)


def _operator_files(folder: Path, apis: Mapping[str, OpenAIServer]) -> dict[str, Path]:
    endpoints = {
        name: {"url": server.url, "model": MODEL, "key_env": f"KEY_OF_{name.upper()}"} for name, server in apis.items()
    }
    gone = {"url": f"http://127.0.0.1:{free_port()}/v1", "model": MODEL}
    unpriced = {"url": "https://api.example.com/v1", "model": "of no known price"}
    files = {"chat_apis_file": folder / "apis.json", "prices_file": folder / "prices.json"}
    files["chat_apis_file"].write_text(json.dumps({"apis": {**endpoints, "gone": gone, "unpriced": unpriced}}))
    files["prices_file"].write_text(json.dumps({"models": {MODEL: {"input": INPUT, "output": OUTPUT}}}))
    return files
