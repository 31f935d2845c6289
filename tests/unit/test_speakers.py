"""What a speaker asks of an engine, and what it makes of every answer: against a real server."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from email.utils import formatdate
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from hypothesis import given
from hypothesis import strategies as st

from platolm.completions import Completion
from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import Turn
from platolm.endings import FinishReason
from platolm.engine_client import EngineClient, EngineModel, RequestBody, engine_session, retry_after_s
from platolm.errors import EngineAwayError, EngineLostError, MisconfiguredError, SpeakerError
from platolm.sampling import Sampling
from platolm.simulators.cleaning import End
from platolm.simulators.told import Told
from platolm.speaker_profile import SpeakerProfile
from platolm.speakers import TokenSpeaker
from platolm.spec import speaker_profile
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.unit.simulators.tokenizers import save_llama3_tokenizer

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def engine_that(handler: Handler, **session: Any) -> AsyncIterator[EngineClient]:
    """A client of a server that answers every request so."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handler)
    options: dict[str, Any] = {"timeout_s": 20.0, "limit": 0, **session}
    async with TestServer(app) as server, engine_session(**options) as client:
        yield EngineClient(client, str(server.make_url("/v1")))


SOCRATIC, PLATOLM = speaker_profile("socratic"), speaker_profile("platolm")


def answering(body: bytes | str | dict[str, Any], *, status: int = 200, **headers: str) -> Handler:
    content = json.dumps(body).encode() if isinstance(body, dict) else body.encode() if isinstance(body, str) else body

    async def handler(_request: web.Request) -> web.Response:
        return web.Response(body=content, status=status, headers={n.replace("_", "-"): v for n, v in headers.items()})

    return handler


def completion(ids: Any = (5, 6), finish_reason: str | None = "stop", **fields: Any) -> dict[str, Any]:
    return {"choices": [{"token_ids": ids, "finish_reason": finish_reason}], **fields}


async def error_of(handler: Handler, **session: Any) -> SpeakerError:
    async with engine_that(handler, **session) as engine:
        with pytest.raises(SpeakerError) as caught:
            await engine.complete(RequestBody(b"{}"))
        return caught.value


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


# What comes back


@pytest.mark.parametrize(
    ("usage", "cached"),
    [
        ({}, None),
        ({"usage": None}, None),
        ({"usage": {"prompt_tokens": 3}}, None),
        ({"usage": {"prompt_tokens_details": None}}, None),
        ({"usage": {"prompt_tokens_details": {"cached_tokens": 0}}}, 0),
        ({"usage": {"prompt_tokens_details": {"cached_tokens": 128}}}, 128),
    ],
)
async def test_a_completion_as_the_engine_gave_it(usage: dict[str, Any], cached: int | None) -> None:
    async with engine_that(answering(completion([5, 6, 2], "stop", **usage))) as engine:
        assert await engine.complete(RequestBody(b"{}")) == Completion([5, 6, 2], "stop", cached)


async def test_a_request_is_sent_as_it_is_given_with_the_key() -> None:
    seen: list[tuple[Any, ...]] = []

    async def handler(request: web.Request) -> web.Response:
        headers = request.headers
        seen.append(
            (
                request.method,
                request.path,
                headers.get("Content-Type"),
                headers.get("Authorization"),
                await request.read(),
            )
        )
        return web.json_response(completion())

    async with engine_that(handler, api_key="a key") as engine:
        await engine.complete(RequestBody(b'{"prompt":[1]}'))
    assert seen == [("POST", "/v1/completions", "application/json", "Bearer a key", b'{"prompt":[1]}')]


async def test_a_compressed_answer_is_read() -> None:
    body = gzip.compress(json.dumps(completion([9])).encode())
    async with engine_that(answering(body, Content_Encoding="gzip")) as engine:
        assert (await engine.complete(RequestBody(b"{}"))).token_ids == [9]


# Refusals


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        (201, False),
        (204, False),
        (400, False),
        (402, False),
        (406, False),
        (408, True),
        (409, True),
        (413, False),
        (422, False),
        (425, True),
        (429, True),
        (500, True),
        (501, True),
        (502, True),
        (503, True),
        (504, True),
        (599, True),
    ],
)
async def test_a_refusal_is_told_with_its_status(status: int, retryable: bool) -> None:
    error = await error_of(answering("" if status == 204 else "because", status=status))
    assert type(error) is SpeakerError
    assert (error.status, error.retryable, error.retry_after_s) == (status, retryable, None)
    assert f"answered {status}: " in str(error)


@pytest.mark.parametrize("status", [401, 403, 404, 405])
async def test_what_is_not_there_is_a_misconfiguration(status: int) -> None:
    error = await error_of(answering({"error": "no such model"}, status=status, Retry_After="3"))
    assert type(error) is MisconfiguredError
    assert (error.status, error.retryable) == (status, False)
    assert "no such model" in str(error)


async def test_a_long_refusal_is_cut_and_stands_on_one_line() -> None:
    error = await error_of(answering(b"a\n\n b\xff" + b"x" * 10_000, status=400))
    assert "\n" not in str(error)
    assert "answered 400: a b\ufffdxxx" in str(error)
    assert str(error).count("x") == 300 - len(b"a\n\n b\xff")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.25", 0.25),
        ("-3", 0.0),
        ("0", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("12 monkeys", None),
        ("nan", None),
        ("inf", None),
        ("1e999", None),
        ("Wed, 99 Oct 2015 07:28:00 GMT", None),
    ],
)
async def test_what_a_busy_engine_asks_for(header: str, seconds: float | None) -> None:
    assert (await error_of(answering("later", status=429, Retry_After=header))).retry_after_s == seconds


async def test_a_date_to_come_is_so_many_seconds_away() -> None:
    error = await error_of(answering("later", status=503, Retry_After=formatdate(time.time() + 120, usegmt=True)))
    assert error.retry_after_s is not None
    assert 100 < error.retry_after_s <= 120


def test_no_header_asks_for_nothing() -> None:
    assert retry_after_s(None) is None


@given(st.text(max_size=40) | st.from_regex(r"[A-Z][a-z]{2}, \d{1,2} [A-Z][a-z]{2} \d{1,5} [\d:]{1,8} [-+GMT\d]{1,6}"))
def test_whatever_a_header_says_it_is_a_time_or_nothing(header: str) -> None:
    seconds = retry_after_s(header)
    assert seconds is None or 0.0 <= seconds < float("inf")


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_a_redirect_is_not_followed(status: int) -> None:
    """A run's endpoints are checked against the operator's list: an engine must not send us elsewhere."""
    asked = []

    async def handler(request: web.Request) -> web.Response:
        asked.append(request.path)
        return web.Response(status=status, headers={"Location": "/other/v1/completions"})

    error = await error_of(handler)
    assert type(error) is MisconfiguredError
    assert (error.status, error.retryable) == (status, False)
    assert asked == ["/v1/completions"]


# Answers that cannot be used


@pytest.mark.parametrize(
    "body",
    [
        "",
        "not JSON",
        '{"choices": [{"token_ids": [1, 2',
        "\x00",
        b"\xff\xfe",
        '{"choices": [{"token_ids": [NaN], "finish_reason": "stop"}]}',
    ],
)
async def test_an_answer_that_is_not_json_is_asked_for_again(body: str | bytes) -> None:
    error = await error_of(answering(body))
    assert type(error) is SpeakerError
    assert (error.retryable, error.status) == (True, None)
    assert "not JSON" in str(error)


@pytest.mark.parametrize(
    "body",
    [
        "[]",
        "null",
        "3",
        '"text"',
        "{}",
        '{"choices": []}',
        '{"choices": null}',
        '{"choices": {}}',
        '{"choices": [null]}',
        '{"choices": ["text"]}',
        '{"choices": [[]]}',
        '{"choices": [{"token_ids": [5], "finish_reason": "stop"}], "usage": [1]}',
        '{"choices": [{"token_ids": [5], "finish_reason": "stop"}], "usage": {"prompt_tokens_details": [1]}}',
    ],
)
async def test_an_answer_of_another_shape_is_asked_for_again(body: str) -> None:
    error = await error_of(answering(body))
    assert type(error) is SpeakerError
    assert (error.retryable, error.status) == (True, None)
    assert "no completion" in str(error)


@pytest.mark.parametrize("choice", [{"text": "hello"}, {"text": "hello", "token_ids": None}, {"token_ids": "5,6"}])
async def test_an_engine_without_token_ids_is_the_wrong_engine(choice: dict[str, Any]) -> None:
    error = await error_of(answering({"choices": [{"finish_reason": "stop", **choice}]}))
    assert type(error) is MisconfiguredError
    assert "no token ids" in str(error)


@pytest.mark.parametrize("ids", [[5, 6], [], None])
async def test_an_engine_that_stops_in_mid_utterance_is_asked_again(ids: list[int] | None) -> None:
    error = await error_of(answering(completion(ids, "abort")))
    assert type(error) is SpeakerError
    assert (error.retryable, error.status) == (True, None)
    assert "in the middle of an utterance" in str(error)


# Connections that fail


def is_away(error: SpeakerError) -> bool:
    """Nobody is there."""
    told = (type(error), error.retryable, error.status) == (EngineAwayError, True, None)
    return told and "/v1 cannot be reached: " in str(error)


def is_lost(error: SpeakerError) -> bool:
    """Somebody was there."""
    told = (type(error), error.retryable, error.status) == (EngineLostError, True, None)
    return told and "/v1 did not answer: " in str(error)


def is_late(error: SpeakerError) -> bool:
    """The engine is there, and an answer in time is not."""
    return _is_plain(error) and "/v1 did not answer in time: " in str(error)


def is_broken(error: SpeakerError) -> bool:
    """The engine answers, and what it answers cannot be read to its end."""
    return _is_plain(error) and "/v1 did not answer whole: " in str(error)


def _is_plain(error: SpeakerError) -> bool:
    return (type(error), error.retryable, error.status) == (SpeakerError, True, None)


async def test_an_answer_that_is_cut_off_is_asked_for_again() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b'{"choices": [{"token_ids": [1, 2')
        assert request.transport is not None
        request.transport.close()
        return response

    assert is_broken(await error_of(handler))


async def test_a_connection_that_is_closed_without_an_answer() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.close()
        return web.Response()

    assert is_lost(await error_of(handler))


async def test_a_connection_that_is_reset() -> None:
    async def handler(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.get_extra_info("socket").setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
        )
        request.transport.abort()
        return web.Response()

    assert is_lost(await error_of(handler))


async def test_nobody_listens(unused_tcp_port: int) -> None:
    async with engine_session(timeout_s=5, limit=0) as session:
        with pytest.raises(SpeakerError) as caught:
            await EngineClient(session, f"http://127.0.0.1:{unused_tcp_port}/v1").complete(RequestBody(b"{}"))
    assert is_away(caught.value)


async def test_a_host_that_does_not_resolve(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_args: object, **_kwargs: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with engine_session(timeout_s=5, limit=0) as session:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        with pytest.raises(SpeakerError) as caught:
            await EngineClient(session, "http://engine.invalid:8000/v1").complete(RequestBody(b"{}"))
    assert is_away(caught.value)


async def test_what_speaks_another_protocol() -> None:
    async def chatter(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 smtp.example ESMTP\r\n")
        writer.close()
        await writer.wait_closed()

    async with (
        await asyncio.start_server(chatter, "127.0.0.1", 0) as server,
        engine_session(timeout_s=5, limit=0) as session,
    ):
        with pytest.raises(SpeakerError) as caught:
            await EngineClient(session, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1").complete(
                RequestBody(b"{}")
            )
    assert is_broken(caught.value)


async def test_an_engine_that_never_answers_is_given_up() -> None:
    asked = asyncio.Event()

    async def handler(_request: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    assert is_late(await error_of(handler, timeout_s=0.2))
    assert asked.is_set()


async def test_an_answer_that_stalls_is_given_up_before_the_request_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platolm.engine_client.BODY_TIMEOUT_S", 0.2)

    async def handler(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b'{"choices": [')
        await asyncio.Event().wait()
        raise AssertionError

    started = time.monotonic()
    assert is_late(await error_of(handler, timeout_s=100.0))
    assert time.monotonic() - started < 50


async def test_an_answer_that_comes_slowly_but_comes_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part resets the patience: together they take longer than it lasts."""
    monkeypatch.setattr("platolm.engine_client.BODY_TIMEOUT_S", 2.0)
    body = json.dumps(completion([7])).encode()
    parts = [body[start : start + 6] for start in range(0, len(body), 6)]
    took = 0.0

    async def handler(request: web.Request) -> web.StreamResponse:
        nonlocal took
        response = web.StreamResponse()
        await response.prepare(request)
        started = time.monotonic()
        for part in parts:
            await response.write(part)
            await asyncio.sleep(0.25)
        took = time.monotonic() - started
        return response

    async with engine_that(handler) as engine:
        assert (await engine.complete(RequestBody(b"{}"))).token_ids == [7]
    assert took > 2.0


@pytest.mark.parametrize(("over", "taken"), [(0, True), (1, False)])
async def test_an_answer_without_an_end_is_given_up(over: int, taken: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    body = json.dumps(completion([7])).encode()
    monkeypatch.setattr("platolm.engine_client.MAX_BODY_BYTES", len(body) - over)
    async with engine_that(answering(body)) as engine:
        if taken:
            assert (await engine.complete(RequestBody(b"{}"))).token_ids == [7]
            return
        with pytest.raises(SpeakerError, match="gave over") as caught:
            await engine.complete(RequestBody(b"{}"))
    assert caught.value.retryable


async def test_a_small_answer_that_unpacks_to_a_large_one_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("platolm.engine_client.MAX_BODY_BYTES", 2**20)
    packed = gzip.compress(b" " * 2**24)
    assert len(packed) < 2**15
    error = await error_of(answering(packed, Content_Encoding="gzip"))
    assert error.retryable
    assert "gave over 1 MiB" in str(error)


async def test_a_client_goes_on_after_every_failure() -> None:
    """The pool's connections are not poisoned by an answer that was given up."""
    answers = iter([answering("x", status=500), answering("{"), answering("", status=429), answering(completion([3]))])

    async def handler(request: web.Request) -> web.StreamResponse:
        return await next(answers)(request)

    async with engine_that(handler) as engine:
        for _ in range(3):
            with pytest.raises(SpeakerError):
                await engine.complete(RequestBody(b"{}"))
        assert (await engine.complete(RequestBody(b"{}"))).token_ids == [3]


async def test_a_cancelled_request_stays_cancelled() -> None:
    asked = asyncio.Event()

    async def handler(_request: web.Request) -> web.StreamResponse:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with engine_that(handler) as engine:
        request = asyncio.create_task(engine.complete(RequestBody(b"{}")))
        await asked.wait()
        request.cancel()
        with pytest.raises(asyncio.CancelledError):
            await request


# Models and metrics


async def test_the_models_that_an_engine_serves() -> None:
    data = [{"id": "socratic", "root": "/models/a", "max_model_len": 2048}, {"id": "b", "max_model_len": 16}]
    async with engine_that(answering({"data": data})) as engine:
        assert await engine.models() == [EngineModel("socratic", "/models/a", 2048), EngineModel("b", "b", 16)]


async def test_adapters_have_the_length_and_the_tokenizer_of_their_base() -> None:
    """As vLLM lists them with --lora-modules: the root is the adapter's own folder, the length is null."""
    cards = [
        {"id": "base", "root": "/models/base", "parent": None, "max_model_len": 2048},
        {"id": "socratic", "root": "/adapters/a", "parent": "base", "max_model_len": None},
        {"id": "platolm", "root": "/adapters/b", "parent": "base", "max_model_len": None},
    ]
    async with engine_that(answering({"data": cards})) as engine:
        served = [(model.id, model.root, model.max_model_len) for model in await engine.models()]
    assert served == [(name, "/models/base", 2048) for name in ("base", "socratic", "platolm")]


@pytest.mark.parametrize(
    "body",
    [
        '{"data": [{"id": "a"}]}',
        '{"data": [{"max_model_len": 3}]}',
        '{"data": [{"id": "a", "max_model_len": null}]}',
        '{"data": [{"id": "a", "parent": "gone", "max_model_len": null}]}',
        '{"data": [{"id": "a", "parent": [], "max_model_len": 3}]}',
        '{"data": null}',
        '{"data": ["a"]}',
        "[]",
        "null",
    ],
)
async def test_a_list_of_models_that_is_not_vllms(body: str) -> None:
    async with engine_that(answering(body)) as engine:
        with pytest.raises(SpeakerError, match="does not answer as vLLM does") as caught:
            await engine.models()
    assert not caught.value.retryable


async def test_metrics_stand_beside_the_api() -> None:
    async def handler(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.method} {request.path}")

    async with engine_that(handler) as engine:
        assert await engine.metrics() == "GET /metrics"


# A speaker


class Engine(EngineClient):
    """Notes what it is asked and gives one answer; a speaker's arithmetic needs no server."""

    def __init__(self, ids: list[int], finish_reason: str | None, cached: int | None = None) -> None:
        self.answer = (ids, finish_reason, cached)
        self.asked: list[dict[str, Any]] = []

    async def complete(self, body: RequestBody) -> Completion:
        self.asked.append(json.loads(body.take()))
        ids, finish_reason, cached = self.answer
        return Completion(list(ids), finish_reason, cached)


def speaker(
    tokenizer: HubTokenizer, profile: SpeakerProfile = SOCRATIC, *, context_tokens: int = 1024, **sampling: Any
) -> TokenSpeaker:
    return TokenSpeaker(profile, tokenizer, "a-model", profile.sampling(Sampling(**sampling)), context_tokens)


@pytest.mark.parametrize(
    ("sampling", "fields"),
    [
        ({}, {"temperature": 0.7, "top_p": 1.0}),
        ({"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}, {"temperature": 0.7, "top_p": 1.0}),
        ({"temperature": 0, "top_p": 0.5, "top_k": 20}, {"temperature": 0.0, "top_p": 0.5, "top_k": 20}),
        ({"min_p": 0.1}, {"temperature": 0.7, "top_p": 1.0, "min_p": 0.1}),
        ({"repetition_penalty": 1.1}, {"temperature": 0.7, "top_p": 1.0, "repetition_penalty": 1.1}),
    ],
)
async def test_a_request_says_no_more_of_sampling_than_is_used(
    tokenizer: HubTokenizer, sampling: dict[str, Any], fields: dict[str, Any]
) -> None:
    engine = Engine([5], "stop")
    await speaker(tokenizer, **sampling).speak(engine, [1, 9], seed=3)
    rest = {"model": "a-model", "return_token_ids": True, "prompt": [1, 9], "max_tokens": 512, "seed": 3}
    assert engine.asked == [rest | fields]


async def test_both_kinds_of_prompt_make_the_same_request(tokenizer: HubTokenizer) -> None:
    engine = Engine([5], "stop")
    one = speaker(tokenizer, PLATOLM)
    turns = [Turn(USER, "Hi </s>"), Turn(ASSISTANT, "Ho")]
    growing = one.new_prompt(Told(system_prompt="Be brief."))
    for turn in turns:
        growing.add(turn.role, turn.content)
    await one.speak(engine, growing, seed=3)
    await one.speak(engine, one.prompt(turns, Told(system_prompt="Be brief.")), seed=3)
    assert engine.asked[0] == engine.asked[1]
    assert one.room(growing) == one.room(one.prompt(turns, Told(system_prompt="Be brief."))) == 1024 - len(growing)


@pytest.mark.parametrize("profile", [SOCRATIC, PLATOLM], ids=lambda profile: profile.name)
def test_a_speaker_has_its_profiles_role(tokenizer: HubTokenizer, profile: SpeakerProfile) -> None:
    assert speaker(tokenizer, profile).role == profile.role


@pytest.mark.parametrize(
    ("room", "wanted", "reported", "max_tokens", "expected"),
    [
        (100, 20, "stop", 20, FinishReason.STOP),
        (100, 20, "length", 20, FinishReason.LENGTH),
        (20, 20, "length", 20, FinishReason.LENGTH),
        (19, 20, "length", 19, FinishReason.CONTEXT),
        (25, 30, "length", 25, FinishReason.CONTEXT),
        (1, 20, "length", 1, FinishReason.CONTEXT),
        (1, 20, "stop", 1, FinishReason.STOP),
        (19, 20, None, 19, FinishReason.CONTEXT),
        (100, 20, None, 20, FinishReason.LENGTH),
    ],
)
async def test_whether_the_context_or_the_limit_cut_it(
    tokenizer: HubTokenizer, room: int, wanted: int, reported: str | None, max_tokens: int, expected: FinishReason
) -> None:
    engine = Engine([5], reported)
    prompt = list(range(10, 60))
    one = speaker(tokenizer, context_tokens=len(prompt) + room, max_tokens=wanted)
    assert one.room(prompt) == room
    assert (await one.speak(engine, prompt, seed=0)).finish_reason is expected
    assert engine.asked[0]["max_tokens"] == max_tokens


@pytest.mark.parametrize(
    ("generated", "kept"),
    [([], []), ([2], []), ([20, 21, 2], [20, 21]), ([20, 21], [20, 21]), ([20, 2, 2], [20, 2])],
)
async def test_the_last_eos_is_no_part_of_an_utterance(
    tokenizer: HubTokenizer, generated: list[int], kept: list[int]
) -> None:
    utterance = await speaker(tokenizer).speak(Engine(generated, "stop", cached=1), [1, 9, 9], seed=0)
    assert utterance.token_ids == kept
    assert utterance.content == tokenizer.decode(kept)
    assert (utterance.num_prompt_tokens, utterance.num_cached_tokens) == (3, 1)
    assert utterance.duration_s >= 0


@pytest.mark.parametrize("strange", ["a", "5", None, -1, 2**40, 2**70, 5.0, True, [5], "vocab_size"])
async def test_ids_that_are_none_of_the_tokenizers_are_asked_for_again(tokenizer: HubTokenizer, strange: Any) -> None:
    """Detokenizing them, or sending them back in the next prompt, is what must not happen."""
    wrong = tokenizer.vocab_size if strange == "vocab_size" else strange
    async with engine_that(answering(completion([5, wrong, 6]))) as engine:
        with pytest.raises(SpeakerError, match="a-model gave ids that its tokenizer does not have") as caught:
            await speaker(tokenizer).speak(engine, [1, 9], seed=0)
    assert (type(caught.value), caught.value.retryable, caught.value.status) == (SpeakerError, True, None)


async def test_the_first_and_the_last_id_are_ids(tokenizer: HubTokenizer) -> None:
    ids = [0, tokenizer.vocab_size - 1]
    assert (await speaker(tokenizer).speak(Engine(ids, "stop"), [1, 9], seed=0)).token_ids == ids


async def test_a_full_context_is_the_callers_to_see(tokenizer: HubTokenizer) -> None:
    with pytest.raises(AssertionError, match="context is full"):
        await speaker(tokenizer, context_tokens=16).speak(Engine([], "stop"), [1] * 16, seed=0)


@pytest.mark.parametrize("key", [None, "secret"])
async def test_a_session_pools_below_what_the_server_keeps_open(key: str | None) -> None:
    async with engine_session(timeout_s=7, limit=3, api_key=key) as session:
        assert isinstance(session.connector, aiohttp.TCPConnector)
        assert session.connector.limit == 3
        assert session.timeout.total == 7
        assert session.headers.get("Authorization") == (f"Bearer {key}" if key else None)


@pytest.fixture(scope="module")
def llama3(tmp_path_factory: pytest.TempPathFactory) -> HubTokenizer:
    return load_tokenizer(save_llama3_tokenizer(tmp_path_factory.mktemp("llama3")))


async def test_what_is_left_to_the_model_is_not_sent(llama3: HubTokenizer) -> None:
    engine = Engine([5], "stop")
    await speaker(llama3, speaker_profile("osim"), top_p=0.9).speak(engine, [1, 9], seed=3)
    [asked] = engine.asked
    assert asked.keys() - {"model", "prompt", "max_tokens", "seed", "return_token_ids"} == {"top_p", "stop_token_ids"}


async def test_what_is_kept_of_an_utterance_is_cleaned(llama3: HubTokenizer) -> None:
    [goodbye] = speaker_profile("userlm").prompts(llama3).goodbye_ids
    kept = await speaker(llama3, speaker_profile("userlm")).speak(
        Engine([*llama3.encode("\n hm"), goodbye], "stop"), [1], seed=3
    )
    assert (kept.content, kept.end, kept.marker, kept.intact) == ("hm", End.MARKER, "<|endconversation|>", False)
    assert kept.token_ids == [*llama3.encode("\n hm"), goodbye]
    assert kept.num_tokens == len(kept.token_ids)


def test_only_what_is_certain_is_shown(llama3: HubTokenizer) -> None:
    """Neither a thought nor the begin of a goodbye."""
    one = speaker(llama3, speaker_profile("roleplay"))
    shown = [
        one.text_so_far(llama3.encode(text)) for text in ("<think>a", "<think>a</think> b", "b <", "b <end>", "b <3")
    ]
    assert shown == ["", "b", "b", "b", "b <3"]


@pytest.mark.parametrize("name", ["userlm", "socratic"])
async def test_how_likely_a_goodbye_was(llama3: HubTokenizer, name: str) -> None:
    """Asked for where the run wants it and the goodbye is one token; told where the engine tells."""
    profile = speaker_profile(name)
    for wanted in (True, False):
        engine = Engine([5], "stop")
        one = TokenSpeaker(profile, llama3, "m", Sampling(), 1024, tells_goodbye=wanted)
        utterance = await one.speak(engine, [1], seed=3)
        assert engine.asked[0].get("logprobs") == (5 if wanted and name == "userlm" else None)
        assert utterance.goodbye_probability is None
