from __future__ import annotations

import pytest

from benchmarks.loaded_stack import Window
from benchmarks.queue_scale import Pair, one_utterance_each, throughput_result
from platolm.spec import RunRequest


def window(utterances: int, cpu_s: float) -> Window:
    cpu = {"worker": cpu_s, "redis": cpu_s / 2, "writer": cpu_s / 2, "api": 99.0}
    return Window(seconds=10.0, utterances=utterances, generated_tokens=0, prompt_tokens=0, cpu_s=cpu)


def test_a_pair_compares_by_the_clock_and_by_processor_time() -> None:
    pair = Pair(huge=window(900, cpu_s=9.0), small=window(1000, cpu_s=5.0))

    assert pair.ratio == 0.9
    assert pair.processor_ratio == pytest.approx(0.5)


def test_the_lower_place_is_the_figure() -> None:
    even = Pair(window(1000, 5.0), window(1000, 5.0))
    slow, slower = Pair(window(960, 5.0), window(1000, 5.0)), Pair(window(500, 5.0), window(1000, 5.0))

    result = throughput_result(1_000_000, {"near": [even, slower, even], "far": [slow, slow, slower]})

    assert (result.figure, result.is_reached) == (0.96, True)
    assert result.details["near: ratio"] == 1.0
    assert result.details["far: at 1,000,000, 1/s"] == 96.0


@pytest.mark.parametrize(("conversations", "seeds", "num_seeds"), [(1000, 100, 100), (5, 100, 5)])
def test_a_run_of_one_utterance_each_is_a_valid_request(conversations: int, seeds: int, num_seeds: int) -> None:
    request = RunRequest.model_validate(one_utterance_each(conversations, seeds))

    assert request.spec.conversations == conversations
    assert len(request.seeds) == num_seeds
    assert request.spec.endings.max_turns == 2
