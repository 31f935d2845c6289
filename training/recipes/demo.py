"""The demo models' recipes: six million parameters, minutes on two CPU cores."""

from __future__ import annotations

from typing import Any

from training.recipes.recipe import (
    Batch,
    Data,
    Evaluation,
    Lora,
    Memory,
    Model,
    ModelShape,
    Optimizer,
    Recipe,
    Schedule,
    Side,
)
from training.sources import HELD_OUT_SHARE, SPLIT_SALT, VALIDATION_SHARE

DEMO_SHAPE = ModelShape(
    vocab_size=4096, hidden_size=256, intermediate_size=704, num_layers=6, num_heads=4, context=1024
)
DEMO_BASE_FOLDER = "models/demo/base"

_LONG, _SPOKEN = 512, 160
_ADAPTER_STEPS = 240
_SPLIT: dict[str, Any] = {"split_salt": SPLIT_SALT, "held_out_share": HELD_OUT_SHARE + VALIDATION_SHARE}
"""The validation split of the demo's dialogues, which the base has not seen; the held-out ones are not in the data."""

_BATCH = Batch(size=12, layout="padded", micro_tokens=12 * DEMO_SHAPE.context, pad_multiple=128)
_MEMORY = Memory(compile=True)
_BETAS = (0.9, 0.98)

DEMO_BASE = Recipe(
    name="demo_base",
    purpose="the demo pair's shared base, from random weights, both sides' turns labelled",
    side=Side.BOTH,
    model=Model(path="build/demo-models/tokenizer", shape=DEMO_SHAPE),
    data=Data(
        max_length=DEMO_SHAPE.context,
        turn_limits={"user": _LONG, "assistant": _LONG},
        join_share=0.25,
        arrangements=11,
        **_SPLIT,
    ),
    batch=_BATCH,
    optimizer=Optimizer(name="muon", learning_rate=1.5e-3, betas=_BETAS, weight_decay=0.1, muon_learning_rate=0.02),
    schedule=Schedule(epochs=1, min_lr_share=0.05),
    memory=_MEMORY,
    evaluation=Evaluation(every_steps=250, log_every_steps=25),
)

DEMO_SOCRATIC = Recipe(
    name="demo_socratic",
    purpose="the demo user simulator, from the demo base; minutes on two CPU cores",
    side=Side.SOCRATIC,
    model=Model(path=DEMO_BASE_FOLDER, residual_dropout=0.15),
    data=Data(
        max_length=DEMO_SHAPE.context,
        turn_limits={"user": _SPOKEN, "assistant": _LONG},
        join_share=0.25,
        arrangements=2,
        **_SPLIT,
    ),
    batch=_BATCH,
    optimizer=Optimizer(name="muon", learning_rate=5e-4, betas=_BETAS, weight_decay=0.1, muon_learning_rate=0.006),
    schedule=Schedule(epochs=1, max_steps=400),
    memory=_MEMORY,
    evaluation=Evaluation(every_steps=100, log_every_steps=25, blend=True),
)

DEMO_PLATOLM = DEMO_SOCRATIC.model_copy(
    update={
        "name": "demo_platolm",
        "purpose": "the demo respondent, from the demo base; minutes on two CPU cores",
        "side": Side.PLATOLM,
        "data": DEMO_SOCRATIC.data.model_copy(update={"turn_limits": {"user": _LONG, "assistant": _SPOKEN}}),
    }
)


def _adapter(side: Recipe) -> Recipe:
    """The same side as a low-rank adapter of the demo base, for an engine that serves both (`up --shared-engine`).

    It is measured at its end alone: the blend with the start wants what was learnt most, not what was learnt least.
    """
    return side.model_copy(
        update={
            "name": f"{side.name}_lora",
            "purpose": f"{side.side} as an adapter of the demo base, for a shared engine; minutes on two CPU cores",
            "model": side.model.model_copy(update={"lora": Lora(rank=4, alpha=8)}),
            "optimizer": Optimizer(learning_rate=1e-3, betas=_BETAS),
            "schedule": Schedule(epochs=1, max_steps=_ADAPTER_STEPS),
            "evaluation": Evaluation(every_steps=_ADAPTER_STEPS, log_every_steps=20, blend=True),
        }
    )


DEMO_SOCRATIC_LORA = _adapter(DEMO_SOCRATIC)
DEMO_PLATOLM_LORA = _adapter(DEMO_PLATOLM)
