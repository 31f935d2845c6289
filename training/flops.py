"""Arithmetic of a training step: how many operations the model needs, and the share of the device's peak that makes.

Only matrix products count. One of [m, k] by [k, n] takes 2·m·k·n operations, and its backward pass two such products,
one for each factor's gradient. So over a step whose rows have n₁, n₂, … tokens, Σn = N, and whose head reads M of them:

    weights     6 · N · P        P = layers · (2·H·D·h + 2·K·D·h + 3·h·f): q and o, k and v, the gated MLP's three
    head        6 · M · h · V
    attention   6 · layers · H · D · Σ n·(n + 1)

with h hidden size, H heads, K key-value heads, D head size, f intermediate size, V vocabulary. Attention takes 2·D
operations for a score and 2·D for its weighted value, for each head and each of the n·(n + 1)/2 pairs that a causal
mask leaves; forward and backward are three times that. The embedding is a lookup; norms and activations are left out.

Source: PaLM, appendix B (Chowdhery et al. 2022, arXiv 2204.02311), which takes 6·P a token and 12·layers·H·D·n for
attention: every pair of the square, masked or not. Counting half of it, as here, gives the lower figure, and the one
that packed rows need. The figure is model FLOPs utilisation: what checkpointing computes a second time is no progress
and is not counted, nor is padding. Weights that do not learn (the base under LoRA) need no gradient of their own: 4
instead of 6; the adapters' own products count 6.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig

_LEARNT, _FROZEN = 6, 4  # operations a weight and token, forward and backward
_MEASURED_SIZE, _MEASURED_S = 1024, 0.2
_LLAMA_LIKE = frozenset(
    ("cohere", "granite", "llama", "mistral", "olmo", "olmo2", "phi3", "qwen2", "qwen3", "smollm3", "stablelm")
)
"""Model types of transformers with dense, gated layers and full attention."""


@dataclass(frozen=True)
class ModelFlops:
    """What one token, one position of the head and one pair of attention cost, forward and backward."""

    per_token: int
    per_head_position: int
    per_pair: int

    @classmethod
    def of(cls, config: PretrainedConfig, *, frozen: bool = False, lora_rank: int = 0) -> Self | None:
        """Of a model with Llama's layers (tied embeddings or not: the head is multiplied either way).

        Args:
            config: the model's configuration.
            frozen: its own weights do not learn.
            lora_rank: of adapters on every linear layer but the head; 0: none.

        Returns:
            None for any other kind: experts, no gate in the MLP, attention within a window.
        """
        if config.model_type not in _LLAMA_LIKE:
            return None
        hidden, intermediate, num_layers = config.hidden_size, config.intermediate_size, config.num_hidden_layers
        head_dim = getattr(config, "head_dim", None) or hidden // config.num_attention_heads
        query, key = config.num_attention_heads * head_dim, config.num_key_value_heads * head_dim
        matrices = [(hidden, query), (query, hidden), *[(hidden, key)] * 2, *[(hidden, intermediate)] * 3]
        weights = sum(rows * columns for rows, columns in matrices)
        adapters = sum((rows + columns) * (lora_rank or 0) for rows, columns in matrices)
        a_weight = _FROZEN if frozen else _LEARNT
        return cls(
            per_token=num_layers * (a_weight * weights + _LEARNT * adapters),
            per_head_position=a_weight * hidden * config.vocab_size,
            per_pair=12 * num_layers * query,
        )

    def of_rows(self, row_lengths: Sequence[int], num_head_positions: int) -> int:
        """FLOPs of one step over rows of these lengths, whose head reads so many positions."""
        pairs = sum(length * (length + 1) // 2 for length in row_lengths)
        return self.per_token * sum(row_lengths) + self.per_head_position * num_head_positions + self.per_pair * pairs


_PEAKS: tuple[tuple[str, float], ...] = (
    ("B200", 2250e12),
    ("GB200", 2500e12),
    ("H200 NVL", 835e12),
    ("H200", 989e12),
    ("GH200", 989e12),
    ("H100 NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H100", 989e12),
    ("H800", 989e12),
    ("A100", 312e12),
    ("A800", 312e12),
    ("A40", 149.7e12),
    ("A30", 165e12),
    ("A10G", 70e12),
    ("A10", 125e12),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("L4", 121e12),
    ("RTX 6000 Ada", 364e12),
    ("RTX A6000", 154.8e12),
    ("RTX 5090", 209.5e12),
    ("RTX 4090", 165e12),
    ("RTX 3090", 71e12),
)
"""Dense bf16 with float32 accumulation, from NVIDIA's data sheets (half of what they give "with sparsity")."""

_LESS_THAN_WHOLE = frozenset(("laptop", "mig"))


def peak_flops(device_name: str) -> float | None:
    """Peak of dense bf16 matrix products, operations/s, by the name that CUDA gives a device; None: not in the table.

    The first entry counts whose words are all in the name: the special models stand before the plain ones.
    """
    words = _words(device_name)
    if words & _LESS_THAN_WHOLE:
        return None
    return next((peak for name, peak in _PEAKS if _words(name) <= words), None)


def peak_flops_here() -> float:
    """Peak of dense bf16 products on this process's device, operations/s: from the table, else measured."""
    import torch

    if not torch.cuda.is_available():
        return measured_peak_flops(torch.bfloat16)
    return peak_flops(torch.cuda.get_device_name()) or measured_peak_flops(torch.bfloat16, "cuda")


@cache
def measured_peak_flops(dtype: torch.dtype, device: str = "cpu") -> float:
    """What a device reaches on square matrix products, operations/s: the best of as many as fit in 0.2 s.

    For where no data sheet gives a peak. Measured once a process, with the threads that torch has then.
    """
    import torch

    matrix = torch.ones(_MEASURED_SIZE, _MEASURED_SIZE, dtype=dtype, device=device)
    matrix @ matrix  # the first one sets up kernels and threads
    best_s, end_s = float("inf"), time.perf_counter() + _MEASURED_S
    while best_s == float("inf") or time.perf_counter() < end_s:
        began_s = time.perf_counter()
        float((matrix @ matrix)[0, 0])  # waits for the device
        best_s = min(best_s, time.perf_counter() - began_s)
    return 2 * _MEASURED_SIZE**3 / best_s


class Throughput:
    """Tokens and operations a second over optimizer steps, all devices together."""

    def __init__(
        self,
        flops: ModelFlops | None = None,
        peak: float | None = None,
        *,
        compacted_head: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count.

        Args:
            flops: of the model; None: no MFU.
            peak: operations/s of all devices together; None: no MFU.
            compacted_head: the head reads the labelled positions alone, not every one.
            clock: seconds, never going back.
        """
        self._flops, self._peak, self._compacted_head, self._clock = flops, peak, compacted_head, clock
        self._began_s = clock()
        self._tokens = self._labels = self._operations = 0

    def add(self, row_lengths: Sequence[int], num_labels: int) -> None:
        """Note one global step: the tokens of its rows without padding, and how many carry loss."""
        num_tokens = sum(row_lengths)
        self._tokens += num_tokens
        self._labels += num_labels
        if self._flops is not None:
            self._operations += self._flops.of_rows(row_lengths, num_labels if self._compacted_head else num_tokens)

    def rates(self) -> dict[str, float]:
        """`tokens_per_s`, `target_tokens_per_s` and `mfu` (0 to 1) since the last call, without what was paused."""
        elapsed_s = self._clock() - self._began_s
        rates: dict[str, float] = {}
        if elapsed_s > 0:
            rates = {"tokens_per_s": self._tokens / elapsed_s, "target_tokens_per_s": self._labels / elapsed_s}
            if self._flops is not None and self._peak:
                rates["mfu"] = self._operations / elapsed_s / self._peak
        self._began_s += elapsed_s
        self._tokens = self._labels = self._operations = 0
        return rates

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Time that is no training: held-out loss, a checkpoint."""
        paused_s = self._clock()
        try:
            yield
        finally:
            self._began_s += self._clock() - paused_s


def _words(name: str) -> set[str]:
    return set(re.split(r"[\s-]+", name.lower()))
