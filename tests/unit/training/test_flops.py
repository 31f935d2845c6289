"""Operations of a step against torch's own count, peaks by device name, and rates on a clock of our own."""

from __future__ import annotations

import contextlib

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode
from transformers import GPT2Config, LlamaConfig, LlamaForCausalLM, MixtralConfig, Qwen3Config

from training.flops import ModelFlops, Throughput, measured_peak_flops, peak_flops, peak_flops_here

LENGTH, LAYERS, HEADS, KV_HEADS, HEAD_DIM, HIDDEN, INTERMEDIATE, VOCABULARY = 12, 2, 4, 2, 8, 32, 48, 64


def tiny_config(*, tied: bool = True) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=HIDDEN,
        intermediate_size=INTERMEDIATE,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        max_position_embeddings=LENGTH,
        tie_word_embeddings=tied,
    )


def flops_of(config: LlamaConfig, *, frozen: bool = False, lora_rank: int = 0) -> ModelFlops:
    flops = ModelFlops.of(config, frozen=frozen, lora_rank=lora_rank)
    assert flops is not None
    return flops


def counted_by_torch(config: LlamaConfig, *, frozen: bool = False) -> int:
    """Of one forward and backward pass over one row, the head at every position.

    Eager attention multiplies the masked half too.
    """
    model = LlamaForCausalLM._from_config(config, attn_implementation="eager")  # type: ignore[no-untyped-call]
    if frozen:
        model.requires_grad_(False)
    embeddings = torch.randn(1, LENGTH, HIDDEN, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        model(inputs_embeds=embeddings, use_cache=False).logits.sum().backward()
    total: int = counter.get_total_flops()
    return total


MASKED_HALF = 12 * LAYERS * HEADS * HEAD_DIM * (LENGTH * LENGTH - LENGTH * (LENGTH + 1) // 2)


@pytest.mark.parametrize("tied", [True, False])
def test_a_step_costs_what_torch_counts(tied: bool) -> None:
    config = tiny_config(tied=tied)
    assert flops_of(config).of_rows([LENGTH], LENGTH) == counted_by_torch(config) - MASKED_HALF


def test_frozen_weights_cost_what_torch_counts_and_adapters_are_learnt() -> None:
    config = tiny_config()
    frozen = flops_of(config, frozen=True).of_rows([LENGTH], LENGTH)
    assert frozen == counted_by_torch(config, frozen=True) - MASKED_HALF
    sizes = [(32, 32), (32, 32), (32, 16), (32, 16), (32, 48), (32, 48), (48, 32)]
    adapters = LAYERS * sum(4 * (one + other) for one, other in sizes)
    assert flops_of(config, frozen=True, lora_rank=4).of_rows([LENGTH], LENGTH) == frozen + 6 * adapters * LENGTH


def test_the_head_counts_where_it_reads_and_rows_do_not_see_one_another() -> None:
    flops = flops_of(tiny_config())
    assert flops.of_rows([5], 3) - flops.of_rows([5], 0) == 3 * 6 * HIDDEN * VOCABULARY
    assert flops.of_rows([5, 7], 0) == flops.of_rows([5], 0) + flops.of_rows([7], 0)
    whole = flops.of_rows([12], 0)
    assert whole - flops.of_rows([5, 7], 0) == 12 * LAYERS * HEADS * HEAD_DIM * 5 * 7


def test_seven_billion_weights() -> None:
    """6·N·D of the usual rule, N without the embedding, plus attention."""
    flops = flops_of(LlamaConfig())
    assert flops.per_token + flops.per_head_position == 6 * (6_738_415_616 - 32_000 * 4096 - 65 * 4096)
    assert flops.of_rows([2048], 0) - 2048 * flops.per_token == 6 * 32 * 4096 * 2048 * 2049


def test_the_head_size_may_differ_from_hidden_size_by_heads() -> None:
    flops = ModelFlops.of(Qwen3Config(hidden_size=1024, num_attention_heads=16, head_dim=128, num_hidden_layers=1))
    assert flops is not None
    assert flops.per_pair == 12 * 16 * 128


def test_another_architecture_has_no_count() -> None:
    assert ModelFlops.of(GPT2Config()) is None
    assert ModelFlops.of(MixtralConfig()) is None


@pytest.mark.parametrize(
    ("name", "peak"),
    [
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("NVIDIA A100 80GB PCIe", 312e12),
        ("NVIDIA H100 80GB HBM3", 989e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA H100 NVL", 835e12),
        ("NVIDIA H200", 989e12),
        ("NVIDIA H200 NVL", 835e12),
        ("NVIDIA GH200 480GB", 989e12),
        ("NVIDIA B200", 2250e12),
        ("NVIDIA GB200", 2500e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", 181e12),
        ("NVIDIA L4", 121e12),
        ("NVIDIA A10", 125e12),
        ("NVIDIA A10G", 70e12),
        ("NVIDIA RTX A6000", 154.8e12),
        ("NVIDIA RTX 6000 Ada Generation", 364e12),
        ("NVIDIA GeForce RTX 4090", 165e12),
        ("NVIDIA GeForce RTX 3090 Ti", 71e12),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", None),
        ("Tesla V100-SXM2-16GB", None),
        ("", None),
    ],
)
def test_peaks_by_name(name: str, peak: float | None) -> None:
    assert peak_flops(name) == peak


def test_a_measured_peak_is_plausible_and_kept() -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        peak = measured_peak_flops(torch.float32)
    finally:
        torch.set_num_threads(before)
    assert 1e9 < peak < 1e13
    assert measured_peak_flops(torch.float32) == peak


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU's peak comes from the table")
def test_the_peak_here_without_a_gpu_is_measured() -> None:
    assert peak_flops_here() == measured_peak_flops(torch.bfloat16)


class Clock:
    def __init__(self) -> None:
        self.now_s = 50.0

    def __call__(self) -> float:
        return self.now_s


def test_rates_are_those_since_the_last_call() -> None:
    clock = Clock()
    throughput = Throughput(ModelFlops(per_token=10, per_head_position=100, per_pair=1), peak=1000, clock=clock)
    throughput.add([3, 4], 2)
    throughput.add([3], 1)
    clock.now_s += 2
    operations = 10 * 10 + 3 * 100 + (6 + 10 + 6)
    assert throughput.rates() == {
        "tokens_per_s": 5.0,
        "target_tokens_per_s": 1.5,
        "mfu": pytest.approx(operations / 2 / 1000),
    }
    assert throughput.rates() == {}
    clock.now_s += 4
    assert throughput.rates() == {"tokens_per_s": 0, "target_tokens_per_s": 0, "mfu": 0}


def test_a_full_head_reads_every_position() -> None:
    clock = Clock()
    throughput = Throughput(ModelFlops(0, 100, 0), peak=1000, compacted_head=False, clock=clock)
    throughput.add([3, 4], 2)
    clock.now_s += 1
    assert throughput.rates()["mfu"] == pytest.approx(0.7)


def test_without_a_count_or_a_peak_there_is_no_mfu() -> None:
    for flops, peak in ((None, 1000.0), (ModelFlops(1, 1, 1), None)):
        clock = Clock()
        throughput = Throughput(flops, peak, clock=clock)
        throughput.add([8], 4)
        clock.now_s += 2
        assert throughput.rates() == {"tokens_per_s": 4, "target_tokens_per_s": 2}


def test_a_pause_does_not_count_also_when_it_fails() -> None:
    clock = Clock()
    throughput = Throughput(clock=clock)
    throughput.add([8], 4)
    clock.now_s += 1
    with throughput.paused():
        clock.now_s += 100
    with contextlib.suppress(KeyError), throughput.paused():
        clock.now_s += 100
        raise KeyError
    clock.now_s += 1
    assert throughput.rates()["tokens_per_s"] == pytest.approx(4)
