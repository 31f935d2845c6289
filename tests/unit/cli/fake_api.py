"""The orchestrator's API on loopback, in memory: its runs go as fast as told, and its faults are set."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import Iterator

from aiohttp import web
from aiohttp.typedefs import Handler
from pydantic import BaseModel

from platolm.chat_apis.use import ApiUse, EstimatedCost
from platolm.runs import (
    DeadConversation,
    Pause,
    PausedBy,
    TurnEvent,
    conversation_id,
    split_conversation_id,
)
from platolm.runs_api import (
    ConversationPage,
    DatasetFormat,
    ResumeRequest,
    RetriedDead,
)
from platolm.spec import RunRequest
from tests.unit.cli.fake_run import FakeRun, detail_of, summary_of


class FakeApi:
    """A server that can be stopped and started again on the same port, its memory kept.

    `segment_size` conversations are committed every `interval_s`; None: only when a test calls `commit`.
    """

    def __init__(self, *, segment_size: int = 10, interval_s: float | None = 0.02) -> None:
        self.runs: dict[str, FakeRun] = {}
        self.keys: dict[str, str] = {}
        self.submissions = 0
        self.segment_requests = 0
        self.progress_events = 0
        self.damaged_replies = 0
        self.dead_indices: frozenset[int] = frozenset()
        self.warnings: list[str] = []
        self.apis: dict[str, ApiUse] = {}
        self.cost_estimate: EstimatedCost | None = None
        self.api_key: str | None = None
        self.cut_dataset_short = False
        self.page_size = 7
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
        app = web.Application(client_max_size=2**26, middlewares=[self._require_key])
        app.router.add_get("/readyz", self._ready)
        app.router.add_post("/v1/runs", self._submit)
        app.router.add_get("/v1/runs", self._list)
        app.router.add_get("/v1/runs/{id}", self._get)
        app.router.add_get("/v1/runs/{id}/events", self._events)
        app.router.add_get("/v1/runs/{id}/manifest", self._manifest)
        app.router.add_get("/v1/runs/{id}/segments/{name}", self._segment)
        app.router.add_get("/v1/runs/{id}/dead", self._dead)
        app.router.add_post("/v1/runs/{id}/pause", self._pause)
        app.router.add_post("/v1/runs/{id}/resume", self._resume)
        app.router.add_post("/v1/runs/{id}/cancel", self._cancel)
        app.router.add_post("/v1/runs/{id}/retry-dead", self._retry_dead)
        app.router.add_get("/v1/runs/{id}/conversations", self._conversations)
        app.router.add_get("/v1/conversations/{id}", self._conversation)
        app.router.add_get("/v1/runs/{id}/dataset", self._dataset)
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
            for run in filter(lambda run: run.is_paced, self.runs.values()):
                run.commit(self._segment_size)

    @web.middleware
    async def _require_key(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("authorization")
        if self.api_key is not None and request.path != "/readyz" and given != f"Bearer {self.api_key}":
            return web.json_response({"detail": "a key is needed"}, status=401)
        return await handler(request)

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
            self.runs[run_id].apis, self.runs[run_id].cost_estimate = self.apis, self.cost_estimate
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
                self.progress_events += 1
                if progress.state.is_over:
                    break
                await asyncio.sleep(0.02)
        self._streams.discard(task)
        return response

    async def _manifest(self, request: web.Request) -> web.Response:
        after = int(request.query.get("after", "0"))
        entries = self._run(request).entries[after : after + int(request.query["limit"])]
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

    async def _pause(self, request: web.Request) -> web.Response:
        run = self._run(request)
        run.pause = Pause(by=PausedBy.USER, reason="asked for")
        return _model(run.progress())

    async def _resume(self, request: web.Request) -> web.Response:
        run = self._run(request)
        run.pause = None
        change = ResumeRequest.model_validate_json(await request.text() or "{}")
        run.budget = run.budget if change.budget is None else change.budget
        return _model(run.progress())

    async def _cancel(self, request: web.Request) -> web.Response:
        run = self._run(request)
        run.is_cancelled = True
        return _model(run.progress())

    async def _retry_dead(self, request: web.Request) -> web.Response:
        run = self._run(request)
        num_dead, run.dead_indices = len(run.dead_indices), frozenset()
        return _model(RetriedDead(retried=num_dead, run=run.progress()))

    async def _conversations(self, request: web.Request) -> web.Response:
        run, query = self._run(request), request.query
        all_of_them = [summary_of(run, index) for index in range(run.request.spec.conversations)]
        wanted = [one for one in all_of_them if query.get("state") in (None, one.state)]
        begin = int(query.get("cursor", "0"))
        end = begin + min(int(query["limit"]), self.page_size)
        return _model(
            ConversationPage(conversations=wanted[begin:end], next_cursor=str(end) if end < len(wanted) else None)
        )

    async def _conversation(self, request: web.Request) -> web.Response:
        found = split_conversation_id(request.match_info["id"])
        if found is None or found[0] not in self.runs:
            raise web.HTTPNotFound(text=json.dumps({"detail": "no such conversation"}), content_type="application/json")
        return _model(detail_of(self.runs[found[0]], found[1]))

    async def _dataset(self, request: web.Request) -> web.StreamResponse:
        run, form = self._run(request), DatasetFormat(request.query["format"])
        asked = {"mark": request.query["mark"]} if "mark" in request.query else {}
        response = web.StreamResponse()
        await response.prepare(request)
        for index in sorted(index for entry in run.entries for index in entry.indices):
            await response.write(json.dumps({"format": form, "index": index, **asked}).encode() + b"\n")
        if self.cut_dataset_short:
            assert request.transport is not None
            request.transport.abort()
        return response

    def _run(self, request: web.Request) -> FakeRun:
        run = self.runs.get(request.match_info["id"])
        if run is None:
            raise web.HTTPNotFound(text=json.dumps({"detail": "no such run"}), content_type="application/json")
        return run


def _model(answer: BaseModel) -> web.Response:
    return web.json_response(answer.model_dump(mode="json"))


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
