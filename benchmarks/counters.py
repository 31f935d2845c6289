"""What an engine counts, read from its /metrics."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import astuple, dataclass

from prometheus_client.parser import text_string_to_metric_families

_NAMES = (
    "vllm:prompt_tokens_total",
    "vllm:generation_tokens_total",
    "vllm:prefix_cache_queries_total",
    "vllm:prefix_cache_hits_total",
    "vllm:num_preemptions_total",
    "vllm:iteration_tokens_total_count",
)
_CACHE_INFO = "vllm:cache_config_info"


@dataclass(frozen=True)
class Counters:
    """Tokens since an engine's start; subtract two readings for what lay between."""

    prompt_tokens: int = 0
    generated_tokens: int = 0
    cache_queries: int = 0
    cache_hits: int = 0
    preemptions: int = 0
    steps: int = 0

    def __add__(self, other: Counters) -> Counters:
        return Counters(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    def __sub__(self, other: Counters) -> Counters:
        return Counters(*(a - b for a, b in zip(astuple(self), astuple(other), strict=True)))


@dataclass(frozen=True)
class CacheShape:
    """An engine's KV cache, in tokens."""

    block_tokens: int
    num_tokens: int


def read_counters(metrics: str) -> Counters:
    """The counters of a /metrics text, summed over its engines."""
    sums = dict.fromkeys(_NAMES, 0)
    for name, _, value in _samples(metrics):
        if name in sums:
            sums[name] += int(value)
    return Counters(*sums.values())


def read_cache_shape(metrics: str) -> CacheShape:
    """The cache of a /metrics text, summed over its engines.

    Raises:
        ValueError: it is not vLLM's.
    """
    found = [labels for name, labels, _ in _samples(metrics) if name == _CACHE_INFO]
    if not found:
        raise ValueError(f"no {_CACHE_INFO} in these metrics")
    block = int(found[0]["block_size"])
    return CacheShape(block, block * sum(int(labels["num_gpu_blocks"]) for labels in found))


def total(readings: Iterable[Counters]) -> Counters:
    return sum(readings, Counters())


def _samples(metrics: str) -> Iterable[tuple[str, dict[str, str], float]]:
    for family in text_string_to_metric_families(metrics):
        for sample in family.samples:
            yield sample.name, sample.labels, sample.value
