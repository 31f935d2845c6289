"""A speaker whose utterance is watched: against a real server, the same utterance as without."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from platolm import engine_client
from platolm.engine_client import EngineClient, engine_session
from platolm.errors import EngineAwayError, EngineLostError, MisconfiguredError, SpeakerError
from platolm.sampling import Sampling
from platolm.speakers import TokenSpeaker
from platolm.spec import speaker_profile
from platolm.tokenizer import HubTokenizer, load_tokenizer
from platolm.utterances import Utterance
from tests.fakes.engine import FakeEngine
from tests.fakes.faults import Fault

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
PROMPT = [1, 5, 6, 7]


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


@pytest.fixture
def engine(byte_tokenizer_folder: Path) -> FakeEngine:
    return FakeEngine(byte_tokenizer_folder, "socratic", cached_tokens=3)


@asynccontextmanager
async def client_of(app: web.Application, *, timeout_s: float = 20.0) -> AsyncIterator[EngineClient]:
    async with TestServer(app) as server, engine_session(timeout_s=timeout_s, limit=0) as session:
        yield EngineClient(session, str(server.make_url("/v1")))


def speaker(tokenizer: HubTokenizer, *, max_tokens: int = 64, context_tokens: int = 1024) -> TokenSpeaker:
    profile, sampling = speaker_profile("socratic"), Sampling(max_tokens=max_tokens)
    return TokenSpeaker(profile, tokenizer, "socratic", profile.sampling(sampling), context_tokens)


def told(utterance: Utterance) -> dict[str, Any]:
    """All but the time that it took."""
    return {name: getattr(utterance, name) for name in Utterance.__slots__ if name != "duration_s"}


def streaming(write: Callable[[web.Request, web.StreamResponse], Awaitable[None]]) -> web.Application:
    """An engine that begins a stream and goes on as told."""

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream; charset=utf-8"})
        await response.prepare(request)
        await write(request, response)
        return response

    return answering(handler)


def answering(handler: Handler) -> web.Application:
    app = web.Application()
    app.router.add_post("/v1/completions", handler)
    return app


def chunk(*ids: Any) -> bytes:
    return b"data: " + json.dumps({"choices": [{"token_ids": list(ids), "finish_reason": None}]}).encode() + b"\n\n"


async def error_of(app: web.Application, tokenizer: HubTokenizer, **options: Any) -> SpeakerError:
    async with client_of(app, **options) as client:
        with pytest.raises(SpeakerError) as caught:
            await speaker(tokenizer).speak(client, PROMPT, seed=1, show=lambda _: None)
        return caught.value


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("max_tokens", [1, 9, 64])
async def test_a_streamed_utterance_is_the_same(
    engine: FakeEngine, tokenizer: HubTokenizer, seed: int, max_tokens: int
) -> None:
    engine.ends_one_in = 3
    side = speaker(tokenizer, max_tokens=max_tokens)
    async with client_of(engine.application()) as client:
        whole = await side.speak(client, PROMPT, seed=seed)
        assert engine.streamed_seeds == []
        streamed = await side.speak(client, PROMPT, seed=seed, show=lambda _: None)
    assert told(streamed) == told(whole)
    assert (streamed.num_cached_tokens, engine.streamed_seeds) == (3, [seed])


async def test_a_stream_asks_for_the_same_and_for_its_usage(tokenizer: HubTokenizer) -> None:
    asked: list[dict[str, Any]] = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(await request.json())
        return web.json_response({"choices": [{"token_ids": [5], "finish_reason": "stop"}]})

    async with client_of(answering(handler)) as client:
        await speaker(tokenizer).speak(client, PROMPT, seed=1)
        await speaker(tokenizer).speak(client, PROMPT, seed=1, show=lambda _: None)
    assert asked[1] == {**asked[0], "stream": True, "stream_options": {"include_usage": True}}


async def test_ids_are_shown_as_they_come(tokenizer: HubTokenizer) -> None:
    shown: list[list[int]] = []
    seen = asyncio.Event()

    async def write(_request: web.Request, response: web.StreamResponse) -> None:
        for ids in ([5], [6, 7], [8]):
            seen.clear()
            await response.write(chunk(*ids))
            await asyncio.wait_for(seen.wait(), 10)  # each before the next one is made
        last = {"choices": [{"token_ids": [tokenizer.eos_id], "finish_reason": "stop"}]}
        await response.write(b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n")

    def show(ids: list[int]) -> None:
        shown.append(list(ids))
        seen.set()

    async with client_of(streaming(write)) as client:
        utterance = await speaker(tokenizer).speak(client, PROMPT, seed=1, show=show)
    assert shown == [[5], [5, 6, 7], [5, 6, 7, 8], [5, 6, 7, 8, tokenizer.eos_id]]
    assert utterance.token_ids == [5, 6, 7, 8]


async def test_an_engine_that_does_not_stream_answers_whole(tokenizer: HubTokenizer) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.json_response({"choices": [{"token_ids": [5, 6], "finish_reason": "stop"}]})

    shown: list[list[int]] = []
    async with client_of(answering(handler)) as client:
        utterance = await speaker(tokenizer).speak(client, PROMPT, seed=1, show=shown.append)
    assert (utterance.token_ids, shown) == ([5, 6], [])


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [(400, SpeakerError, False), (404, MisconfiguredError, False), (503, SpeakerError, True)],
)
async def test_a_refusal_is_the_same_as_of_a_whole_answer(
    tokenizer: HubTokenizer, status: int, kind: type[SpeakerError], retryable: bool
) -> None:
    async def handler(_request: web.Request) -> web.Response:
        return web.json_response({"error": "no"}, status=status, headers={"Retry-After": "7"})

    error = await error_of(answering(handler), tokenizer)
    assert (type(error), error.status, error.retryable) == (kind, status, retryable)
    assert error.retry_after_s == (None if kind is MisconfiguredError else 7.0)


@pytest.mark.parametrize("cut", [Fault.ABORTED, Fault.TRUNCATED])
async def test_an_engine_that_stops_in_the_middle_is_asked_again(
    engine: FakeEngine, tokenizer: HubTokenizer, cut: Fault
) -> None:
    engine.faults.append(cut)
    error = await error_of(engine.application(), tokenizer)
    assert (type(error), error.retryable) == (SpeakerError, True)
    assert "in the middle of an utterance" in str(error)


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_connection_that_breaks_in_the_middle_is_a_lost_engine(tokenizer: HubTokenizer, is_reset: bool) -> None:
    async def write(request: web.Request, response: web.StreamResponse) -> None:
        await response.write(chunk(5))
        assert request.transport is not None
        if is_reset:
            linger = struct.pack("ii", 1, 0)
            request.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        request.transport.abort()

    error = await error_of(streaming(write), tokenizer)
    assert (type(error), error.retryable, error.status) == (EngineLostError, True, None)


async def test_nobody_listens(tokenizer: HubTokenizer, unused_tcp_port: int) -> None:
    async with engine_session(timeout_s=20, limit=0) as session:
        client = EngineClient(session, f"http://127.0.0.1:{unused_tcp_port}/v1")
        with pytest.raises(EngineAwayError) as caught:
            await speaker(tokenizer).speak(client, PROMPT, seed=1, show=lambda _: None)
    assert type(caught.value) is EngineAwayError


async def test_a_stream_that_stalls_is_given_up_when_the_request_is(tokenizer: HubTokenizer) -> None:
    never = asyncio.Event()

    async def write(_request: web.Request, response: web.StreamResponse) -> None:
        await response.write(chunk(5))
        await never.wait()

    error = await error_of(streaming(write), tokenizer, timeout_s=0.3)
    assert (type(error), error.retryable) == (SpeakerError, True)
    assert "did not answer in time" in str(error)


async def test_a_slow_stream_is_no_stalled_answer(
    engine: FakeEngine, tokenizer: HubTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_client, "BODY_TIMEOUT_S", 0.01)  # of an answer that is there when it begins
    engine.token_latency_s = 0.03
    async with client_of(engine.application()) as client:
        utterance = await speaker(tokenizer).speak(client, PROMPT, seed=1, show=lambda _: None)
    assert utterance.duration_s > 0.03 * len(utterance.token_ids)


async def test_a_stream_without_an_end_is_given_up(tokenizer: HubTokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_client, "MAX_BODY_BYTES", 2**16)

    async def write(_request: web.Request, response: web.StreamResponse) -> None:
        while True:
            await response.write(chunk(5))

    error = await error_of(streaming(write), tokenizer)
    assert (type(error), error.retryable) == (SpeakerError, True)
    assert " gave over " in str(error)


@pytest.mark.parametrize("strange", [-1, 10**6, "5", 1.0, None])
async def test_ids_that_are_none_of_the_tokenizers_are_never_shown(tokenizer: HubTokenizer, strange: Any) -> None:
    async def write(_request: web.Request, response: web.StreamResponse) -> None:
        await response.write(chunk(5) + chunk(6, strange))

    shown: list[int] = []
    async with client_of(streaming(write)) as client:
        with pytest.raises(SpeakerError, match="ids that its tokenizer does not have") as caught:
            await speaker(tokenizer).speak(client, PROMPT, seed=1, show=shown.extend)
    assert caught.value.retryable
    assert set(shown) <= {5}


async def test_a_cancelled_stream_leaves_the_engine(tokenizer: HubTokenizer) -> None:
    begun, left = asyncio.Event(), asyncio.Event()

    async def write(_request: web.Request, response: web.StreamResponse) -> None:
        try:
            while True:
                await response.write(chunk(5))
                await asyncio.sleep(0.01)
        except (ConnectionError, asyncio.CancelledError):
            left.set()
            raise

    async with client_of(streaming(write)) as client:
        speaking = asyncio.create_task(speaker(tokenizer).speak(client, PROMPT, seed=1, show=lambda _: begun.set()))
        await asyncio.wait_for(begun.wait(), 10)
        speaking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await speaking
        await asyncio.wait_for(left.wait(), 10)
