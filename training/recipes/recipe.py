"""What a training run is: every number of it in one typed, printable place."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import DEFAULT_MAX_LENGTH

PositiveInt = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Side(StrEnum):
    """Whose turns carry the loss: a profile of `platolm.dyadic`, or both in turn (what a shared base is trained on)."""

    SOCRATIC = "socratic"
    PLATOLM = "platolm"
    BOTH = "both"


class _Group(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ModelShape(_Group):
    """A Llama with tied embeddings, from random weights."""

    vocab_size: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_layers: PositiveInt
    num_heads: PositiveInt
    context: PositiveInt
    """Longest row, in training and in serving."""


class Lora(_Group):
    """Low-rank adapters on every linear layer but the head (Hu et al. 2021, arXiv 2106.09685)."""

    rank: PositiveInt = 64
    alpha: PositiveInt = 128
    dropout: Share = 0.0
    rank_stabilised: bool = True
    """Scale by alpha/√rank (Kalajdzievski 2023, arXiv 2312.03732)."""


class Model(_Group):
    """What is trained, and from which weights."""

    path: str
    """Folder or Hugging Face hub name of the base: any causal language model."""
    shape: ModelShape | None = None
    """Given: random weights of this shape; `path` then only has to hold the tokenizer."""
    lora: Lora | None = None
    """Given: train adapters; the export is merged, the adapters lie beside it."""
    attention: Literal["auto", "flash_attention_2", "flash_attention_3", "flex_attention", "sdpa"] = "auto"
    """auto: FlashAttention's varlen kernels where they are installed, else flex attention; sdpa without a GPU."""
    grow_vocabulary: bool = False
    """Grow an embedding that is smaller than the tokenizer, to a multiple of 64."""
    residual_dropout: Share = 0.0
    """On the embeddings and what each block adds; for small corpora seen many times (Llama models only)."""


class Data(_Group):
    """Which dialogues, and how they become rows."""

    paths: tuple[str, ...] = ()
    """Files or folders: ShareGPT or OpenAI records, JSON or JSON lines, .gz or .zst, a run's dataset folder."""
    max_length: PositiveInt = DEFAULT_MAX_LENGTH
    """Tokens of a row."""
    split_long: bool = True
    """Split a longer conversation at turn boundaries; off: cut it."""
    bos_in_loss: bool = True
    """Whether a target turn's own begin token carries loss (the original's choice)."""
    held_out_share: Share = 0.05
    """Of the conversations, chosen by a hash of the opening; never trained on."""
    split_salt: str = "125"
    """Of that hash."""
    turn_limits: dict[str, PositiveInt] = {}
    """A conversation is cut before its first turn of more tokens than its role's limit."""
    join_share: Share = 0.0
    """Share of the conversations that are joined into ones of up to `max_length`: trains every position of the
    context where most dialogues are short."""
    arrangements: PositiveInt = 1
    """How often the conversations are written down, each time in another order and with other joins."""

    @field_validator("turn_limits")
    @classmethod
    def _of_known_roles(cls, limits: dict[str, int]) -> dict[str, int]:
        if unknown := limits.keys() - {USER, ASSISTANT}:
            raise ValueError(f"no such role: {', '.join(sorted(unknown))}; there are {USER} and {ASSISTANT}")
        return limits


class Batch(_Group):
    """What one optimizer step sees, whatever the packing, the number of GPUs or the accumulation."""

    size: PositiveInt = 128
    unit: Literal["conversations", "tokens"] = "conversations"
    """conversations: so many rows; tokens: rows up to so many tokens."""
    layout: Literal["auto", "packed", "padded"] = "auto"
    """packed: best-fit decreasing, block-diagonal attention by varlen kernels; padded: rows of like length together.
    auto: packed on a GPU, padded on a CPU, where attention over a pack is dense."""
    micro_tokens: PositiveInt = 16384
    """Tokens of one forward pass on one device, padding included: what memory allows."""
    pad_multiple: PositiveInt = 8
    """Padded rows are as wide as the next multiple: few distinct shapes."""


class Optimizer(_Group):
    name: Literal["adamw", "muon"] = "adamw"
    """muon: Muon on the hidden matrices and AdamW on the rest, on one device."""
    learning_rate: Annotated[float, Field(gt=0)] = 2e-5
    betas: tuple[Share, Share] = (0.9, 0.999)
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    max_grad_norm: Annotated[float, Field(ge=0)] = 1.0
    """0: no clipping."""
    muon_learning_rate: Annotated[float, Field(gt=0)] = 0.02
    muon_weight_decay: Annotated[float, Field(ge=0)] = 0.01


class Schedule(_Group):
    epochs: Annotated[float, Field(gt=0)] = 3.0
    max_steps: PositiveInt | None = None
    """End after so many steps, whatever `epochs` says."""
    warmup_share: Share = 0.03
    min_lr_share: Share = 0.0
    """The learning rate at the end as a share of its peak; cosine in between."""


class Memory(_Group):
    """What is traded for memory, and how the work is spread over devices."""

    weights: Literal["float32", "bfloat16"] = "float32"
    """Of the weights that the optimizer steps."""
    bf16: bool = True
    """Compute in bf16 (autocast, or FSDP2's mixed precision); off: in the weights' own type."""
    checkpointing: Literal["none", "selective", "full"] = "none"
    """Recompute activations in the backward pass: none, all but matrix products' results, or all."""
    sharding: Literal["auto", "ddp", "fsdp2"] = "auto"
    """Over several devices. auto: FSDP2."""
    compile: bool = False
    """torch.compile of each decoder layer."""
    head: Literal["compacted", "fused", "full"] = "compacted"
    """compacted: the head reads labelled positions only; fused: TRL's, tile by tile, the least memory; full: all."""


class Evaluation(_Group):
    """Held-out loss, checkpoints, and when to stop."""

    every_steps: PositiveInt = 37
    """Evaluate and save every so many steps, and at the end."""
    patience: PositiveInt | None = None
    """Stop after so many evaluations without a new best."""
    keep_checkpoints: PositiveInt = 2
    """The best one and the newest ones, so many in all; at least two, so that a failed save leaves one."""
    log_every_steps: PositiveInt = 1
    wandb: bool = False
    """Log to Weights & Biases too; TensorBoard always."""
    blend: bool = False
    """Keep the weights on the way from the start to the fine-tune that held-out loss likes best (Wortsman et al.
    2022, arXiv 2109.01903)."""


class Recipe(_Group):
    """One masked fine-tune."""

    name: str
    purpose: str
    """One line for `platolm train --list`."""
    side: Side
    model: Model
    data: Data = Data()
    batch: Batch = Batch()
    optimizer: Optimizer = Optimizer()
    schedule: Schedule = Schedule()
    memory: Memory = Memory()
    evaluation: Evaluation = Evaluation()
    seed: int = 125

    @model_validator(mode="after")
    def _fits_together(self) -> Recipe:
        if self.batch.micro_tokens < self.data.max_length:
            raise ValueError("batch.micro_tokens must hold at least one row of data.max_length tokens")
        if self.optimizer.name == "muon" and self.memory.sharding == "fsdp2":
            raise ValueError("optimizer.name=muon runs on one device: memory.sharding=fsdp2 needs adamw")
        return self
