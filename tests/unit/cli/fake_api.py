"""The orchestrator's API on loopback, in memory: its runs go as fast as told, and its faults are set."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

from aiohttp import web

from platolm.conversation import TerminationReason
from platolm.dataset import ManifestEntry, Record, compress_records
from platolm.runs import DeadConversation, RunProgress, RunRequest, RunState, TurnEvent, conversation_id

NUM_TURNS = 4
TOKENS_A_TURN = 7


@dataclass
class FakeRun:
    """One run and what of it is committed."""

    id: str
    request: RunRequest
    dead_indices: frozenset[int] = frozenset()
    entries: list[ManifestEntry] = field(default_factory=list)
    segments: dict[str, bytes] = field(default_factory=dict)

    @property
    def committed(self) -> int:
        return sum(len(entry.indices) for entry in self.entries)

    @property
    def living(self) -> list[int]:
        return [index for index in range(self.request.spec.conversations) if index not in self.dead_indices]

    @property
    def is_over(self) -> bool:
        return self.committed == len(self.living)

    def commit(self, size: int) -> None:
        """Commit the next `size` conversations as one segment, its records in falling order of their index."""
        indices = sorted(self.living[self.committed : self.committed + size], reverse=True)
        if not indices:
            return
        content = compress_records(record_of(self.id, index) for index in indices)
        number = len(self.entries) + 1
        name = f"{number:08d}-fake.jsonl.zst"
        self.segments[name] = content
        self.entries.append(
            ManifestEntry(
                number=number,
                segment=name,
                indices=indices,
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )

    def progress(self) -> RunProgress:
        return RunProgress(
            id=self.id,
            state=RunState.COMPLETED if self.is_over else RunState.RUNNING,
            spec=self.request.spec,
            created_at=1000.0,
            fed=self.request.spec.conversations,
            in_flight=0,
            finished=self.committed,
            committed=self.committed,
            dead=len(self.dead_indices),
            utterances=NUM_TURNS * self.committed,
            generated_tokens=NUM_TURNS * TOKENS_A_TURN * self.committed,
            terminations={TerminationReason.TURN_LIMIT: self.committed},
        )


def record_of(run_id: str, index: int) -> Record:
    """A finished conversation whose text names its index."""
    roles = ["user", "assistant"] * (NUM_TURNS // 2)
    side = {"profile": "socratic", "model": "fake", "sampling": {"temperature": 0.7}, "system_prompt": None}
    return {
        "id": conversation_id(run_id, index),
        "run_id": run_id,
        "index": index,
        "conversations": [
            {"from": "human" if role == "user" else "gpt", "value": f"{index}/{turn_index} é ✓"}
            for turn_index, role in enumerate(roles)
        ],
        "num_rounds": NUM_TURNS // 2,
        "termination_reason": "turn_limit",
        "simulator": side,
        "respondent": {**side, "profile": "platolm"},
        "seed": 0,
        "seed_mode": "free",
        "seed_line": None,
        "turns": [
            {"role": role, "num_tokens": TOKENS_A_TURN, "finish_reason": "stop", "token_ids": [1, 2, 3]}
            for role in roles
        ],
        "started_at": 1000.0,
        "finished_at": 1060.0,
    }


class FakeApi:
    """A server that can be stopped and started again on the same port, its memory kept.

    `segment_size` conversations are committed every `interval_s`; None: only when a test calls `commit`.
    """

    def __init__(self, *, segment_size: int = 10, interval_s: float | None = 0.02) -> None:
        self.runs: dict[str, FakeRun] = {}
        self.keys: dict[str, str] = {}
        self.submissions = 0
        self.segment_requests = 0
        self.damaged_replies = 0
        self.dead_indices: frozenset[int] = frozenset()
        self.warnings: list[str] = []
        self.refusal: str | None = None
        self.hold_submissions = asyncio.Event()
        self.hold_submissions.set()
        self._segment_size = segment_size
        self._interval_s = interval_s
        self._port = _free_port()
        self._runner: web.AppRunner | None = None
        self._pace: asyncio.Task[None] | None = None
        self._streams: set[asyncio.Task[object]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def only_run(self) -> FakeRun:
        (run,) = self.runs.values()
        return run

    async def start(self) -> None:
        app = web.Application(client_max_size=2**26)
        app.router.add_get("/readyz", self._ready)
        app.router.add_post("/v1/runs", self._submit)
        app.router.add_get("/v1/runs", self._list)
        app.router.add_get("/v1/runs/{id}", self._get)
        app.router.add_get("/v1/runs/{id}/events", self._events)
        app.router.add_get("/v1/runs/{id}/manifest", self._manifest)
        app.router.add_get("/v1/runs/{id}/segments/{name}", self._segment)
        app.router.add_get("/v1/runs/{id}/dead", self._dead)
        self._runner = web.AppRunner(app, shutdown_timeout=0.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port, reuse_address=True).start()
        if self._interval_s is not None:
            self._pace = asyncio.create_task(self._commit_regularly(self._interval_s))

    async def stop(self) -> None:
        if self._pace is not None:
            self._pace.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._pace
        for stream in self._streams:
            stream.cancel()
        if self._runner is not None:
            await self._runner.cleanup()
        self._pace = self._runner = None

    async def _commit_regularly(self, interval_s: float) -> None:
        while True:
            await asyncio.sleep(interval_s)
            for run in self.runs.values():
                run.commit(self._segment_size)

    async def _ready(self, _request: web.Request) -> web.Response:
        return web.json_response({"ready": True})

    async def _submit(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.submissions += 1
        if self.refusal is not None:
            return web.json_response({"detail": self.refusal}, status=422)
        key = request.headers["Idempotency-Key"]
        known = key in self.keys
        if not known:
            run_id = f"run-{len(self.runs) + 1}"
            self.keys[key] = run_id
            self.runs[run_id] = FakeRun(run_id, RunRequest.model_validate_json(body), self.dead_indices)
        await self.hold_submissions.wait()
        progress = self.runs[self.keys[key]].progress().model_dump(mode="json")
        return web.json_response({**progress, "warnings": self.warnings}, status=200 if known else 201)

    async def _list(self, _request: web.Request) -> web.Response:
        return web.json_response({"runs": [run.progress().model_dump(mode="json") for run in self.runs.values()]})

    async def _get(self, request: web.Request) -> web.Response:
        return web.json_response(self._run(request).progress().model_dump(mode="json"))

    async def _events(self, request: web.Request) -> web.StreamResponse:
        run = self._run(request)
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        task = asyncio.current_task()
        assert task is not None
        self._streams.add(task)
        with contextlib.suppress(ConnectionError):
            while True:
                progress = run.progress()
                for event in _turns_of(run.id, progress.committed):
                    await response.write(_event("turn", event.model_dump_json()))
                await response.write(_event("progress", progress.model_dump_json()))
                if progress.state is RunState.COMPLETED:
                    break
                await asyncio.sleep(0.02)
        self._streams.discard(task)
        return response

    async def _manifest(self, request: web.Request) -> web.Response:
        after = int(request.query.get("after", "0"))
        entries = self._run(request).entries[after:]
        return web.json_response({"entries": [entry.model_dump() for entry in entries]})

    async def _segment(self, request: web.Request) -> web.Response:
        self.segment_requests += 1
        content = self._run(request).segments[request.match_info["name"]]
        if self.damaged_replies > 0:
            self.damaged_replies -= 1
            content = content[:-1] + bytes([content[-1] ^ 0xFF])
        return web.Response(body=content)

    async def _dead(self, request: web.Request) -> web.Response:
        run = self._run(request)
        dead = [
            DeadConversation(id=conversation_id(run.id, index), index=index, attempts=3, error="the engine said no")
            for index in sorted(run.dead_indices)
        ]
        return web.json_response({"dead": [conversation.model_dump() for conversation in dead]})

    def _run(self, request: web.Request) -> FakeRun:
        run = self.runs.get(request.match_info["id"])
        if run is None:
            raise web.HTTPNotFound(text=json.dumps({"detail": "no such run"}), content_type="application/json")
        return run


def _turns_of(run_id: str, committed: int) -> Iterator[TurnEvent]:
    for turn_index, role in enumerate(("user", "assistant")):
        yield TurnEvent(
            conversation_id=conversation_id(run_id, committed),
            index=committed,
            turn_index=turn_index,
            role=role,
            content=f"utterance {turn_index} of {committed}",
        )


def _event(name: str, data: str) -> bytes:
    return f"event: {name}\ndata: {data}\n\n".encode()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
