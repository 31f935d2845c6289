from __future__ import annotations

from typing import Any

import orjson
import pytest

from platolm.dyadic import PLATOLM, SOCRATIC, Turn, prompt_ids
from platolm.tokenizer import HubTokenizer, load_tokenizer
from tests.fakes.load_engine import Load
from tests.fakes.load_server import (
    MIN_ROUNDS_TOKENS,
    MODELS,
    NUM_ANSWERS,
    Engine,
    Occupancy,
    Served,
    drawn_length,
    made_answers,
    streamed,
)


@pytest.fixture(scope="module")
def tokenizer() -> HubTokenizer:
    return load_tokenizer(str(MODELS / "platolm"))


def asked(engine: Engine, prompt: list[int], *, seed: int = 7, max_tokens: int = 512) -> tuple[str, Any, float]:
    """Status line, body and seconds of a completion."""
    request = {"model": engine.model, "prompt": prompt, "seed": seed, "max_tokens": max_tokens}
    answer, due_s = engine.complete(orjson.dumps(request))
    head, _, body = answer.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    assert f"Content-Length: {len(body)}" in lines
    return lines[0], orjson.loads(body), due_s


def test_occupancy_adds_up_the_time_at_each_level() -> None:
    now = [10.0]
    occupancy = Occupancy(clock=lambda: now[0])
    for at, by in [(11.0, 2), (14.0, -1), (14.5, 1), (16.5, -2), (17.0, 0)]:
        now[0] = at
        occupancy.change(by)

    assert dict(occupancy.seconds) == {0: 1.5, 2: 5.0, 1: 0.5}
    assert occupancy.in_flight == 0


def test_answers_differ_and_have_the_mean_that_was_asked_for(tokenizer: HubTokenizer) -> None:
    answers = made_answers(tokenizer, 32)
    lengths = [len(answer.token_ids) for answer in answers]

    assert len({answer.text for answer in answers}) == NUM_ANSWERS
    assert (min(lengths), max(lengths)) == (16, 48)
    assert sum(lengths) / len(lengths) == pytest.approx(32, abs=0.5)
    assert all(answer.token_ids[-1] == tokenizer.eos_id for answer in answers)
    assert all(tokenizer.decode(answer.token_ids[:-1]) == answer.text for answer in answers[:50])


def test_the_same_seed_is_answered_alike_whatever_the_prompt() -> None:
    engine = Engine("platolm", Load(latency_s=0.5, token_latency_s=0.01), Served())

    status, body, due_s = asked(engine, [1, 5, 6])
    _, other, _ = asked(engine, [1, 5, 6, 7])

    choice = body["choices"][0]
    assert status == "HTTP/1.1 200 OK"
    assert choice["token_ids"] == other["choices"][0]["token_ids"]
    assert choice["prompt_token_ids"] == [1, 5, 6]
    assert choice["finish_reason"] == "stop"
    assert due_s == pytest.approx(0.5 + 0.01 * len(choice["token_ids"]))
    assert engine.served.prompt_tokens == 7


def test_an_answer_is_cut_to_what_was_asked_for_and_what_there_is_room_for() -> None:
    engine = Engine("platolm", Load(max_model_len=20), Served())

    _, few, _ = asked(engine, [1] * 5, max_tokens=3)
    _, full, _ = asked(engine, [1] * 18)
    refused, _, _ = asked(engine, [1] * 20)

    assert (len(few["choices"][0]["token_ids"]), few["choices"][0]["finish_reason"]) == (3, "length")
    assert (len(full["choices"][0]["token_ids"]), full["choices"][0]["finish_reason"]) == (2, "length")
    assert refused == "HTTP/1.1 400 Bad Request"


def test_another_model_is_not_found() -> None:
    engine = Engine("platolm", Load(), Served())
    answer, _ = engine.complete(orjson.dumps({"model": "x", "prompt": [1], "seed": 1, "max_tokens": 9}))

    assert answer.startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_a_streamed_answer_says_the_same_a_token_at_a_time() -> None:
    engine = Engine("platolm", Load(), Served())
    answer, _ = engine.complete(orjson.dumps({"model": "platolm", "prompt": [1, 5], "seed": 7, "max_tokens": 512}))
    whole = orjson.loads(answer.partition(b"\r\n\r\n")[2])

    chunks = b"".join(streamed(answer)).partition(b"\r\n\r\n")[2].split(b"\r\n")
    assert [int(size, 16) for size in chunks[:-1:2]] == [len(content) for content in chunks[1:-1:2]]
    *lines, last = [line for line in b"".join(chunks[1:-1:2]).split(b"\n\n") if line]
    events = [orjson.loads(line.removeprefix(b"data: ")) for line in lines]

    assert (last, chunks[-3:]) == (b"data: [DONE]", [b"0", b"", b""])
    choices = [choice for event in events for choice in event["choices"]]
    assert [token_id for choice in choices for token_id in choice["token_ids"]] == whole["choices"][0]["token_ids"]
    assert {choice["finish_reason"] for choice in choices[:-1]} == {None}
    assert choices[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]
    assert events[-1]["usage"] == whole["usage"]


def test_a_refusal_is_not_streamed() -> None:
    refused, _ = Engine("platolm", Load(), Served()).complete(
        orjson.dumps({"model": "x", "prompt": [1], "seed": 1, "max_tokens": 9})
    )
    assert streamed(refused) == [refused]


def test_a_conversations_length_hangs_on_its_first_utterance_alone(tokenizer: HubTokenizer) -> None:
    below = 1000
    engine = Engine("socratic", Load(ends_below=below, max_model_len=4096), Served())
    question = "How old is the river boat?"
    length = drawn_length(tokenizer.encode(question), below)

    def said(num_answer_words: int) -> tuple[int, list[int]]:
        turns = [Turn("user", question), Turn("assistant", "soup " * num_answer_words)]
        prompt = prompt_ids(turns, SOCRATIC, tokenizer)
        _, body, _ = asked(engine, prompt)
        return len(prompt), body["choices"][0]["token_ids"]

    shown = [said(words) for words in range(1, 1200, 100)]

    assert {ids == [tokenizer.eos_id] for size, ids in shown if size >= length} == {True}
    assert {ids == [tokenizer.eos_id] for size, ids in shown if size < length} == {False}


def test_only_the_simulator_ends_a_conversation(tokenizer: HubTokenizer) -> None:
    engine = Engine("platolm", Load(ends_below=100, max_model_len=4096), Served())
    _, body, _ = asked(engine, prompt_ids([Turn("user", "soup " * 300)], PLATOLM, tokenizer))

    assert body["choices"][0]["token_ids"] != [tokenizer.eos_id]


def test_lengths_are_drawn_evenly() -> None:
    lengths = [drawn_length([number, 3], 2048) for number in range(4000)]

    assert min(lengths) >= MIN_ROUNDS_TOKENS
    assert max(lengths) < 2048
    assert sum(lengths) / len(lengths) == pytest.approx((MIN_ROUNDS_TOKENS + 2048) / 2, rel=0.02)
