"""The process of a fast fake engine: vLLM's completions dialect with answers that were made beforehand.

Both sides are served by one process, each on its own port. An answer depends on the request's seed alone. It comes at
once, or after a time that grows with its tokens. With `ends_below` a conversation is given a length of its own, drawn
from its first utterance: when a simulator's prompt has grown to it, the simulator says nothing more.

    python -m tests.fakes.load_server [--tokens 32] [--latency 0] [--token-latency 0] [--ends-below 0]

prints the two ports as JSON and serves until SIGTERM.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import signal
import time
import zlib
from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import httptools
import orjson
import typer
import uvloop

from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.fakes.load_engine import SIDES, Load

MODELS = Path(__file__).parent.parent.parent / "models" / "demo"
NUM_ANSWERS = 8192
"""Different ones; few enough to be made in a second, enough that a conversation hardly meets one twice."""

SHORTEST_ANSWER = 6
MIN_ROUNDS_TOKENS = 96
"""No conversation is drawn shorter than this: its first prompt is about as long."""

_STREAMED = b'"stream":true'

KV_BLOCKS, KV_BLOCK_TOKENS = 1_000_000, 16

_WORDS = (
    "what", "about", "the", "river", "boat", "soup", "garden", "winter", "letter", "train", "bread", "song", "how",
    "would", "you", "paint", "it", "again", "when", "my", "friend", "comes", "to", "stay", "with", "us", "for", "a",
    "week", "and", "we", "cannot", "find", "old", "recipe", "that", "she", "left", "here", "last", "year",
)  # fmt: skip


@dataclass(frozen=True)
class Answer:
    """An utterance: its ids with the eos, and the middle of the response that carries it."""

    token_ids: tuple[int, ...]
    text: str


@dataclass
class Occupancy:
    """For how long how many requests were in flight. `seconds[n]` is the time with exactly n."""

    clock: Callable[[], float] = time.monotonic
    in_flight: int = 0
    seconds: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    _since: float = field(init=False)

    def __post_init__(self) -> None:
        self._since = self.clock()

    def change(self, by: int) -> float:
        """So many more, or fewer, from now on; gives the moment."""
        now = self.clock()
        self.seconds[self.in_flight] += now - self._since
        self._since = now
        self.in_flight += by
        return now


@dataclass
class Served:
    """What both sides have done together."""

    occupancy: Occupancy = field(default_factory=Occupancy)
    answered: int = 0
    generated_tokens: int = 0
    prompt_tokens: int = 0
    last_answer_at: float = field(default_factory=time.monotonic)

    def answer(self) -> None:
        """One more has been sent."""
        self.occupancy.change(-1)
        self.answered += 1
        self.last_answer_at = time.monotonic()

    def snapshot(self) -> bytes:
        now = self.occupancy.change(0)
        return orjson.dumps(
            {
                "at": now,
                "answered": self.answered,
                "generated_tokens": self.generated_tokens,
                "prompt_tokens": self.prompt_tokens,
                "last_answer_at": self.last_answer_at,
                "in_flight": self.occupancy.in_flight,
                "seconds": {str(level): seconds for level, seconds in self.occupancy.seconds.items()},
            }
        )


class Engine:
    """One side: what it answers to a request."""

    def __init__(self, model: str, load: Load, served: Served) -> None:
        folder = MODELS / model
        self.model = model
        self.load = load
        self.served = served
        tokenizer = load_tokenizer(str(folder))
        self._eos_id, self._bos_id = tokenizer.eos_id, tokenizer.bos_id
        self._answers = made_answers(tokenizer, load.tokens)
        self._blank = Answer((tokenizer.eos_id,), "")
        model_card = {"id": model, "root": str(folder), "max_model_len": load.max_model_len}
        self.models = response(orjson.dumps({"object": "list", "data": [model_card]}))

    def complete(self, body: bytes) -> tuple[bytes, float]:
        """The whole HTTP response, and after how many seconds it is due."""
        request = orjson.loads(body)
        prompt: list[int] = request["prompt"]
        if request["model"] != self.model:
            return response(b'{"error": {"message": "no such model"}}', "404 Not Found"), 0.0
        if len(prompt) >= self.load.max_model_len:
            return response(b'{"error": {"message": "prompt too long"}}', "400 Bad Request"), 0.0
        answer = self._answer(prompt, int(request["seed"]))
        room = min(int(request["max_tokens"]), self.load.max_model_len - len(prompt))
        ids = answer.token_ids[:room]
        reason = "stop" if len(ids) == len(answer.token_ids) else "length"
        self.served.generated_tokens += len(ids)
        self.served.prompt_tokens += len(prompt)
        due = self.load.latency_s + self.load.token_latency_s * len(ids)
        return response(_completion(answer.text, prompt, ids, reason)), due

    def _answer(self, prompt: list[int], seed: int) -> Answer:
        if self.load.ends_below and self.model == SIDES[0] and len(prompt) >= self._length_of(prompt):
            return self._blank
        return self._answers[seed % NUM_ANSWERS]

    def _length_of(self, prompt: list[int]) -> int:
        """Tokens that this conversation lasts: one number for all prompts that begin with the same utterance."""
        if self._eos_id not in prompt:
            return self.load.max_model_len
        end = prompt.index(self._eos_id)
        begin = prompt.index(self._bos_id, 1)
        return drawn_length(prompt[begin + 1 : end], self.load.ends_below)

    def metrics(self) -> bytes:
        """What is read of vLLM's, with a KV cache that never fills."""
        served, label = self.served, f'{{model_name="{self.model}"}}'
        lines = [
            f'vllm:cache_config_info{{block_size="{KV_BLOCK_TOKENS}",num_gpu_blocks="{KV_BLOCKS}"}} 1.0',
            f"vllm:num_requests_running{label} {served.occupancy.in_flight}",
            f"vllm:num_requests_waiting{label} 0",
            f"vllm:kv_cache_usage_perc{label} 0.0",
            f"vllm:num_preemptions_total{label} 0",
            f"vllm:generation_tokens_total{label} {served.generated_tokens}",
            f"vllm:prompt_tokens_total{label} {served.prompt_tokens}",
            f"vllm:iteration_tokens_total_count{label} {served.answered}",
            f"vllm:prefix_cache_queries_total{label} {served.prompt_tokens}",
            f"vllm:prefix_cache_hits_total{label} {served.prompt_tokens}",
        ]
        return response("\n".join([*lines, ""]).encode(), content_type="text/plain; version=0.0.4")


class Connection(asyncio.Protocol):
    """One keep-alive connection; a request at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._body: list[bytes] = []
        self._path = b""
        self._pending: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._engine.served.occupancy.change(-1)

    def on_message_begin(self) -> None:
        self._body = []

    def on_url(self, url: bytes) -> None:
        self._path = url.partition(b"?")[0]

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._path != b"/v1/completions":
            self._transport.write(self._small_answer())
            return
        body = b"".join(self._body)
        answer, due_s = self._engine.complete(body)
        self._engine.served.occupancy.change(1)
        pieces = streamed(answer) if _STREAMED in body else [answer]
        self._send_later(deque(pieces), due_s / len(pieces))

    def _small_answer(self) -> bytes:
        if self._path == b"/v1/models":
            return self._engine.models
        if self._path == b"/metrics":
            return self._engine.metrics()
        if self._path == b"/served":
            return response(self._engine.served.snapshot())
        return response(b"{}") if self._path == b"/health" else response(b"{}", "404 Not Found")

    def _send_later(self, pieces: deque[bytes], step_s: float) -> None:
        """Send the pieces, each `step_s` after the one before."""
        if step_s > 0:
            self._pending = asyncio.get_running_loop().call_later(step_s, self._send, pieces, step_s)
        else:
            self._send(pieces, step_s)

    def _send(self, pieces: deque[bytes], step_s: float) -> None:
        self._pending = None
        piece = pieces.popleft()
        if not pieces:
            self._engine.served.answer()
        self._transport.write(piece)
        if pieces:
            self._send_later(pieces, step_s)


def made_answers(tokenizer: HubTokenizer, mean_tokens: int) -> list[Answer]:
    """`NUM_ANSWERS` different utterances, between half and one and a half of `mean_tokens`."""
    chance = random.Random(mean_tokens)
    return [_made_answer(tokenizer, chance, mean_tokens) for _ in range(NUM_ANSWERS)]


def drawn_length(first_utterance: Sequence[int], below: int) -> int:
    """Tokens of a conversation, evenly between `MIN_ROUNDS_TOKENS` and `below`, from the ids of its first utterance."""
    share = zlib.crc32(repr(first_utterance).encode()) / 2**32
    return MIN_ROUNDS_TOKENS + int(share * (below - MIN_ROUNDS_TOKENS))


def response(body: bytes, status: str = "200 OK", content_type: str = "application/json") -> bytes:
    """A whole HTTP response."""
    return f"HTTP/1.1 {status}\r\nContent-Type: {content_type}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def streamed(answer: bytes) -> list[bytes]:
    """A whole response as server-sent events, one a token, to be sent one after the other; a refusal stays whole.

    Only the last event has text: workers read the ids.
    """
    head, _, body = answer.partition(b"\r\n\r\n")
    if not head.startswith(b"HTTP/1.1 200 "):
        return [answer]
    whole = orjson.loads(body)
    [choice] = whole["choices"]
    *first, last = choice["token_ids"]
    silent = {**choice, "text": "", "finish_reason": None, "prompt_token_ids": None}
    choices = [*({**silent, "token_ids": [token_id]} for token_id in first), {**choice, "token_ids": [last]}]
    events = [orjson.dumps({**whole, "choices": [one], "usage": None}) for one in choices]
    events.append(orjson.dumps({**whole, "choices": []}))
    chunks = [_chunk(b"data: " + event + b"\n\n") for event in (*events, b"[DONE]")]
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    return [head + chunks[0], *chunks[1:-2], b"".join(chunks[-2:]) + _chunk(b"")]


def _chunk(content: bytes) -> bytes:
    """A chunk of HTTP's chunked coding; an empty one ends the body."""
    return f"{len(content):x}\r\n".encode() + content + b"\r\n"


def _made_answer(tokenizer: HubTokenizer, chance: random.Random, mean_tokens: int) -> Answer:
    wanted = max(SHORTEST_ANSWER, chance.randint(mean_tokens // 2, mean_tokens + mean_tokens // 2))
    words = " ".join(chance.choice(_WORDS) for _ in range(wanted))
    ids = tokenizer.encode(words)[: wanted - 1]
    return Answer((*ids, tokenizer.eos_id), tokenizer.decode(ids))


def _completion(text: str, prompt: list[int], ids: Sequence[int], reason: str) -> bytes:
    choice = {
        "index": 0,
        "text": text,
        "logprobs": None,
        "finish_reason": reason,
        "stop_reason": None,
        "token_ids": ids,
        "prompt_token_ids": prompt,
    }
    usage = {"prompt_tokens": len(prompt), "completion_tokens": len(ids), "total_tokens": len(prompt) + len(ids)}
    return orjson.dumps({"id": "cmpl-0", "object": "text_completion", "choices": [choice], "usage": usage})


async def serve(load: Load) -> None:
    """Serve both sides until SIGTERM."""
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    served = Served()
    ports = {}
    for model in SIDES:
        engine = Engine(model, load, served)
        server = await loop.create_server(partial(Connection, engine), "127.0.0.1", 0, backlog=8192)
        ports[model] = server.sockets[0].getsockname()[1]
    print(json.dumps(ports), flush=True)
    await stopping.wait()


def main(
    tokens: Annotated[int, typer.Option(min=SHORTEST_ANSWER, help="mean of an utterance")] = 32,
    latency: Annotated[float, typer.Option(min=0, help="seconds before an answer")] = 0.0,
    token_latency: Annotated[float, typer.Option(min=0, help="seconds for each of its tokens besides")] = 0.0,
    ends_below: Annotated[int, typer.Option(min=0, help="tokens of the longest conversation; 0: no end")] = 0,
    max_model_len: Annotated[int, typer.Option(min=16, help="tokens of the longest prompt with its utterance")] = 2048,
) -> None:
    """Serve a simulator and a respondent that cost next to nothing."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve(Load(tokens, latency, token_latency, ends_below, max_model_len)))


if __name__ == "__main__":
    typer.run(main)
