"""What is read from an engine's metrics."""

from __future__ import annotations

import pytest

from benchmarks.counters import CacheShape, Counters, read_cache_shape, read_counters, total

METRICS = """\
# HELP vllm:prompt_tokens_total Number of prefill tokens processed.
# TYPE vllm:prompt_tokens_total counter
vllm:prompt_tokens_total{engine="0",model_name="platolm"} 700.0
vllm:prompt_tokens_total{engine="1",model_name="platolm"} 300.0
# HELP vllm:generation_tokens_total Number of generation tokens processed.
# TYPE vllm:generation_tokens_total counter
vllm:generation_tokens_total{engine="0",model_name="platolm"} 1.2e+03
# HELP vllm:prefix_cache_queries_total Prefix cache queries.
# TYPE vllm:prefix_cache_queries_total counter
vllm:prefix_cache_queries_total{engine="0",model_name="platolm"} 990.0
# HELP vllm:prefix_cache_hits_total Prefix cache hits.
# TYPE vllm:prefix_cache_hits_total counter
vllm:prefix_cache_hits_total{engine="0",model_name="platolm"} 512.0
# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="128",engine="0",num_gpu_blocks="682"} 1.0
"""


def test_counters_are_summed_over_engines_and_missing_ones_are_zero() -> None:
    assert read_counters(METRICS) == Counters(
        prompt_tokens=1000, generated_tokens=1200, cache_queries=990, cache_hits=512, preemptions=0
    )


def test_the_cache_is_told_in_tokens() -> None:
    assert read_cache_shape(METRICS) == CacheShape(block_tokens=128, num_tokens=128 * 682)


def test_metrics_of_something_else_have_no_cache() -> None:
    with pytest.raises(ValueError, match="cache_config_info"):
        read_cache_shape("# TYPE up gauge\nup 1.0\n")


def test_counters_add_up_and_differ() -> None:
    one, other = Counters(10, 20, 30, 40, 5, 6), Counters(1, 2, 3, 4, 5, 6)
    assert one - other == Counters(9, 18, 27, 36, 0, 0)
    assert total([one, other]) == Counters(11, 22, 33, 44, 10, 12)
    assert total([]) == Counters()
