"""Named training recipes: every number of a run in one typed place."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PLATOLM, SOCRATIC, DyadicProfile


@dataclass(frozen=True)
class ModelShape:
    """A Llama with tied embeddings; `context` is the longest row, in training and in serving."""

    vocab_size: int
    hidden_size: int
    intermediate_size: int
    num_layers: int
    num_heads: int
    context: int


@dataclass(frozen=True)
class SftRecipe:
    """One masked fine-tune (or, with every turn labelled, the shared pre-training).

    Attributes:
        profiles: under whose headers the rows are composed, in turn.
        every_turn: label both sides' turns instead of the profile's own.
        turn_limits: a dialogue is cut before a turn of more tokens than its role's limit.
        join_share: share of the dialogues that are joined into conversations of up to the context's length.
        num_passes: how often each dialogue is seen.
        batch_rows: rows of a step.
        muon_learning_rate: above zero, Muon's for the hidden matrices; `learning_rate` is then AdamW's for the rest.
        min_lr_share: the learning rate at the end, as a share of its peak; cosine in between.
        residual_dropout: on the embeddings and on what each block adds to the residual stream.
        blend: keep the weights on the way from the start to the fine-tune that validation likes best.
        max_minutes: where a slow machine ends early; the learning rate still reaches its end.
    """

    name: str
    profiles: tuple[DyadicProfile, ...]
    num_passes: int
    learning_rate: float
    max_minutes: float
    every_turn: bool = False
    turn_limits: Mapping[str, int] = field(default_factory=dict)
    join_share: float = 0.5
    batch_rows: int = 12
    muon_learning_rate: float = 0.0
    muon_weight_decay: float = 0.01
    min_lr_share: float = 0.0
    warmup_share: float = 0.03
    weight_decay: float = 0.1
    residual_dropout: float = 0.0
    blend: bool = False
    num_evaluations: int = 12
    seed: int = 125


DEMO_SHAPE = ModelShape(
    vocab_size=4096, hidden_size=256, intermediate_size=704, num_layers=6, num_heads=4, context=1024
)

_LONG, _SPOKEN = 512, 160

DEMO_START = SftRecipe(
    name="start",
    profiles=(SOCRATIC, PLATOLM),
    every_turn=True,
    turn_limits={USER: _LONG, ASSISTANT: _LONG},
    num_passes=4,
    join_share=0.35,
    learning_rate=1.5e-3,
    min_lr_share=0.35,
    residual_dropout=0.1,
    max_minutes=35,
)
"""The first stretch of the shared pre-training: high learning rate, residual dropout."""

DEMO_SECOND = SftRecipe(
    name="second",
    profiles=(SOCRATIC, PLATOLM),
    every_turn=True,
    turn_limits={USER: _LONG, ASSISTANT: _LONG},
    num_passes=1,
    join_share=0.2,
    learning_rate=1.2e-3,
    min_lr_share=0.7,
    num_evaluations=1,
    max_minutes=10,
    seed=126,
)
"""The second stretch, without dropout: the corpus is seen too few times in all to be overfitted."""

DEMO_BASE = SftRecipe(
    name="base",
    profiles=(SOCRATIC, PLATOLM),
    every_turn=True,
    turn_limits={USER: _LONG, ASSISTANT: _LONG},
    num_passes=6,
    join_share=0.2,
    learning_rate=1.5e-3,
    muon_learning_rate=0.02,
    min_lr_share=0.05,
    num_evaluations=20,
    max_minutes=20,
    seed=127,
)
"""The third stretch, with Muon, down to a low learning rate: the base itself."""

DEMO_SOCRATIC = SftRecipe(
    name="socratic",
    profiles=(SOCRATIC,),
    turn_limits={USER: _SPOKEN, ASSISTANT: _LONG},
    num_passes=3,
    join_share=0.25,
    learning_rate=5e-4,
    residual_dropout=0.15,
    muon_learning_rate=0.006,
    blend=True,
    num_evaluations=6,
    max_minutes=5.5,
)
"""Dropout again: by now the base begins to know the corpus by heart."""

DEMO_PLATOLM = SftRecipe(
    name="platolm",
    profiles=(PLATOLM,),
    turn_limits={USER: _LONG, ASSISTANT: _SPOKEN},
    num_passes=4,
    join_share=0.25,
    learning_rate=5e-4,
    residual_dropout=0.15,
    muon_learning_rate=0.006,
    blend=True,
    num_evaluations=6,
    max_minutes=5.5,
)
