"""The load engine as the process that benchmarks start."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tests.fakes.load_engine import SIDES, Load, load_engine


def body(model: str) -> dict[str, object]:
    return {"model": model, "prompt": [1, 5, 6], "seed": 3, "max_tokens": 512}


def test_both_sides_answer_and_the_time_in_flight_is_kept() -> None:
    with load_engine(Load(latency_s=0.2)) as engine:
        urls = dict(zip(SIDES, (engine.simulator_url, engine.respondent_url), strict=True))
        start = engine.snapshot()

        async def ask() -> list[httpx.Response]:
            async with httpx.AsyncClient() as client:
                return await asyncio.gather(
                    *(client.post(f"{url}/completions", json=body(model)) for model, url in urls.items())
                )

        answers = asyncio.run(ask())
        served = {model: httpx.get(f"{url}/models").json()["data"][0]["id"] for model, url in urls.items()}
        end = engine.snapshot()

    assert [answer.status_code for answer in answers] == [200, 200]
    assert served == {model: model for model in SIDES}
    assert (end.answered - start.answered, end.in_flight) == (2, 0)
    seconds_at = end.seconds_at(start)
    assert sum(seconds_at.values()) == pytest.approx(end.at - start.at)
    assert seconds_at[1] + 2 * seconds_at[2] == pytest.approx(2 * 0.2, abs=0.1)


def test_a_client_that_leaves_is_in_flight_no_more() -> None:
    with load_engine(Load(latency_s=60)) as engine:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{engine.respondent_url}/completions", json=body("platolm"), timeout=0.3)
        while engine.snapshot().in_flight:
            pass

        assert engine.snapshot().answered == 0


def test_metrics_are_those_of_vllm() -> None:
    with load_engine(Load()) as engine:
        text = httpx.get(engine.respondent_url.removesuffix("/v1") + "/metrics").text

    assert 'vllm:num_requests_running{model_name="platolm"} 0' in text.splitlines()
