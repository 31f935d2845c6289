"""The arithmetic of conversations an hour and GPU."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from benchmarks.counters import Counters
from benchmarks.full_stack import StackRun
from benchmarks.loop_gpu import Tokens, Work, given_urls, key_of, middle_rate, read_engines, result
from platolm.conversation import ASSISTANT, USER
from platolm.errors import InputError
from tests.unit.benchmarks.records import record, turn

METRICS = 'vllm:generation_tokens_total{engine="0"} 30.0\nvllm:generation_tokens_total{engine="1"} 12.0\n'


def conversation(index: int, finished_at: float) -> dict[str, object]:
    user = turn(USER, 10, [5, 6, 7]) | {"num_cached_tokens": None}
    assistant = turn(ASSISTANT, 30, [5, 6], finish_reason="length") | {"num_cached_tokens": 16}
    return record(index, [user, assistant], ["a", "b"]) | {"finished_at": finished_at}


def work(num_gpus: int, price: float | None) -> Work:
    return Work(4, 2, 2048, 64, None, num_gpus, price)


def test_tokens_are_the_datasets_the_eos_included() -> None:
    assert Tokens.of([conversation(0, 1.0), conversation(1, 2.0)]) == Tokens(prompt=80, cached=32, generated=12)


def test_the_figure_is_for_one_gpu_and_the_cost_for_all() -> None:
    run = StackRun([conversation(index, float(index)) for index in range(4)], seconds=36.0, committed_s=40.0)
    found = result(work(2, 3.0), run, Counters(generated_tokens=72), "a and b")
    assert (found.name, found.unit) == ("a and b, 2 GPUs", "conversations/h/GPU")
    assert found.figure == pytest.approx(4 * 100 / 2)
    assert found.details["cost of 1,000 conversations"] == pytest.approx(3.0 * 2 * 1000 / 400)
    assert found.details["prompt tokens of a conversation"] == 40
    assert found.details["share cached"] == pytest.approx(0.4)
    assert found.details["made, tokens/s"] == pytest.approx(2.0)


def test_without_a_gpu_nothing_is_said_of_one() -> None:
    run = StackRun([conversation(0, 0.0)], seconds=36.0, committed_s=40.0)
    found = result(work(0, 3.0), run, Counters(), "a and b")
    assert (found.name, found.unit) == ("a and b, no GPU", "conversations/h")
    assert found.figure == pytest.approx(100)
    assert not [label for label in found.details if "cost" in label or "price" in label]


def test_the_middle_is_without_start_and_tail() -> None:
    ends = [0.0, *(100.0 + index for index in range(9)), 1000.0]
    assert middle_rate([conversation(index, at) for index, at in enumerate(ends)]) == pytest.approx(1.0)
    assert middle_rate([conversation(0, 5.0)]) == 0.0


def test_both_sides_engines_or_neither() -> None:
    assert given_urls(None, None) is None
    assert given_urls("http://a/v1,http://b/v1", "http://c/v1") == {
        USER: ["http://a/v1", "http://b/v1"],
        ASSISTANT: ["http://c/v1"],
    }
    with pytest.raises(InputError, match="both sides"):
        given_urls("http://a/v1", None)


def test_a_key_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("abc\n")
    assert (key_of(tmp_path / "key"), key_of(None)) == ("abc", None)
    with pytest.raises(InputError, match="cannot be read"):
        key_of(tmp_path / "none")


async def test_an_address_counts_once_and_a_router_nothing() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=METRICS) if request.url.host == "engine" else httpx.Response(404)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        counters = await read_engines(
            client, {USER: ["http://engine/v1"], ASSISTANT: ["http://engine/v1/", "http://r/v1"]}
        )
    assert counters == Counters(generated_tokens=42)
