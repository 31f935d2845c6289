"""What a worker reads of an engine's metrics."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.engines.engine_metrics import EngineReading, read_engine_metrics

ONE_ENGINE = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="socratic"} 3.0
vllm:num_requests_waiting{engine="0",model_name="socratic"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 50.0
vllm:iteration_tokens_total_bucket{engine="0",le="1.0"} 11.0
vllm:iteration_tokens_total_count{engine="0",model_name="socratic"} 1.2345e+06
vllm:iteration_tokens_total_sum{engine="0",model_name="socratic"} 99.0
vllm:kv_cache_usage_perc{engine="0",model_name="socratic"} 0.25
vllm:cache_config_info{block_size="16",cache_dtype="auto",num_gpu_blocks="8192",prefix_caching="True"} 1.0
process_open_fds 12.0
"""


def test_one_engine() -> None:
    assert read_engine_metrics(ONE_ENGINE) == EngineReading(16 * 8192, 16, 1_234_500.0, 3, 2, 0.25)


def test_several_cores_behind_one_address_are_summed_and_their_shares_averaged() -> None:
    other = ONE_ENGINE.replace('engine="0"', 'engine="1"').replace(" 3.0", " 4.0").replace(" 0.25", " 0.75")
    assert read_engine_metrics(ONE_ENGINE + other) == EngineReading(2 * 16 * 8192, 16, 2_469_000.0, 7, 4, 0.5)


DATA_PARALLEL = """\
# HELP vllm:num_requests_running Number of requests in model execution batches.
# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="org/model"} 12.0
vllm:num_requests_running{engine="1",model_name="org/model"} 9.0
vllm:num_requests_running{engine="2",model_name="org/model"} 0.0
# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0",model_name="org/model"} 4.0
vllm:num_requests_waiting{engine="1",model_name="org/model"} 0.0
vllm:num_requests_waiting{engine="2",model_name="org/model"} 1.0
# TYPE vllm:kv_cache_usage_perc gauge
vllm:kv_cache_usage_perc{engine="0",model_name="org/model"} 0.9
vllm:kv_cache_usage_perc{engine="1",model_name="org/model"} 0.6
vllm:kv_cache_usage_perc{engine="2",model_name="org/model"} 0.0
# TYPE vllm:iteration_tokens_total histogram
vllm:iteration_tokens_total_count{engine="0",model_name="org/model"} 100.0
vllm:iteration_tokens_total_count{engine="1",model_name="org/model"} 80.0
vllm:iteration_tokens_total_count{engine="2",model_name="org/model"} 5.0
# TYPE vllm:cache_config_info gauge
vllm:cache_config_info{block_size="16",cache_dtype="fp8",engine="0",num_gpu_blocks="5000"} 1.0
vllm:cache_config_info{block_size="16",cache_dtype="fp8",engine="1",num_gpu_blocks="5000"} 1.0
vllm:cache_config_info{block_size="16",cache_dtype="fp8",engine="2",num_gpu_blocks="4990"} 1.0
"""
"""A data-parallel engine of three copies: a line for each, told apart by the label `engine`; written by hand."""


def test_a_data_parallel_engine_has_what_all_its_copies_have() -> None:
    assert read_engine_metrics(DATA_PARALLEL) == EngineReading(
        kv_tokens=16 * (5000 + 5000 + 4990), block_size=16, iterations=185.0, running=21, waiting=5, kv_used=0.5
    )


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("vllm:num_requests_running 3.0", EngineReading(running=3)),
        ("vllm:num_requests_running{a=\"b\"} 1e1", EngineReading(running=10)),
        ('vllm:num_requests_running{model_name="a b } c"} 2', EngineReading(running=2)),
        ("vllm:num_requests_running_total{} 3.0", EngineReading()),
        ("# vllm:num_requests_running 3.0", EngineReading()),
        (" vllm:num_requests_running 3.0", EngineReading()),
        ("sglang:num_requests_running 3.0", EngineReading()),
        ("", EngineReading()),
        ('vllm:kv_cache_usage_perc{engine="0"} 0.0', EngineReading(kv_used=0.0)),
        ('vllm:kv_cache_usage_perc{engine="0"} 1.0000001', EngineReading(kv_used=1.0)),
        ('vllm:kv_cache_usage_perc{engine="0"} -1', EngineReading(kv_used=0.0)),
        # Strange values must not end the worker that reads them.
        ("vllm:num_requests_running", EngineReading()),
        ("vllm:num_requests_running{} ", EngineReading()),
        ("vllm:num_requests_running{} many", EngineReading()),
        ("vllm:num_requests_running{} NaN", EngineReading()),
        ("vllm:num_requests_waiting{} +Inf", EngineReading()),
        ('vllm:cache_config_info{block_size="16",num_gpu_blocks="None"} 1.0', EngineReading(0, 16)),
        ('vllm:cache_config_info{num_gpu_blocks="100"} 1.0', EngineReading()),
        ('vllm:cache_config_info{block_size="-1",num_gpu_blocks="100"} 1.0', EngineReading()),
        ('vllm:cache_config_info{a="\\"",block_size="16",num_gpu_blocks="2"} 1.0', EngineReading(32, 16)),
    ],
)  # fmt: skip
def test_a_line(line: str, expected: EngineReading) -> None:
    assert read_engine_metrics(line) == expected
    assert expected.is_silent is (expected == EngineReading())


@given(st.lists(st.sampled_from(ONE_ENGINE.split()) | st.text(max_size=9), max_size=20).map(" ".join))
def test_no_text_ends_the_reader(text: str) -> None:
    reading = read_engine_metrics(text)
    assert reading.kv_tokens >= 0
