"""What a vLLM engine says of itself under `/metrics`: its KV cache's size and use, whether it moves, what waits."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_CACHE_INFO = "vllm:cache_config_info"
_ITERATIONS = "vllm:iteration_tokens_total_count"
_RUNNING = "vllm:num_requests_running"
_WAITING = "vllm:num_requests_waiting"
_KV_USED = "vllm:kv_cache_usage_perc"


@dataclass(frozen=True)
class EngineReading:
    """One look at an engine. `kv_tokens` is what its KV cache holds; 0 where it does not say.

    `kv_used` is the share of that in use, from 0 to 1; None where it does not say.
    """

    kv_tokens: int = 0
    block_size: int = 0
    iterations: float = 0.0
    running: int = 0
    waiting: int = 0
    kv_used: float | None = None

    @property
    def is_silent(self) -> bool:
        """Whether the engine said nothing that is known here."""
        return self == _NOTHING


_NOTHING = EngineReading()


def read_engine_metrics(text: str) -> EngineReading:
    """Read the few lines that matter.

    Several engine cores behind one address (data parallel) are summed; of `kv_used` it is the mean.
    """
    kv_tokens = block_size = 0
    sums = dict.fromkeys((_ITERATIONS, _RUNNING, _WAITING), 0.0)
    shares: list[float] = []
    for line in text.splitlines():
        if not line.startswith("vllm:"):
            continue
        name = line.partition("{")[0].partition(" ")[0]
        if name in sums:
            sums[name] += _number(line.rpartition(" ")[2])
        elif name == _KV_USED:
            shares.append(min(1.0, max(0.0, _number(line.rpartition(" ")[2]))))
        elif name == _CACHE_INFO:
            labels = dict(_LABEL.findall(line))
            block_size = _whole(labels.get("block_size"))
            kv_tokens += block_size * _whole(labels.get("num_gpu_blocks"))
    kv_used = sum(shares) / len(shares) if shares else None
    return EngineReading(kv_tokens, block_size, sums[_ITERATIONS], int(sums[_RUNNING]), int(sums[_WAITING]), kv_used)


def _number(value: str) -> float:
    """0 where it is none: a strange line must not cost the worker that watches."""
    try:
        number = float(value)
    except ValueError:
        return 0.0
    return number if math.isfinite(number) else 0.0


def _whole(label: str | None) -> int:
    return int(label) if label and label.isdigit() else 0
