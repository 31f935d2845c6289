"""The paper's pair and its smaller-budget variants: settings of PlatoLM's training code (Kong et al. 2024).

One step is 128 conversations: 4 GPUs × 4 × accumulation 8 there, any number of devices here.
"""

from __future__ import annotations

from training.recipes.recipe import Lora, Memory, Model, Optimizer, Recipe, Side

_SOCRATIC_BASE = "huggyllama/llama-7b"  # LLaMA-1 7B, as the paper's simulator
_PLATOLM_BASE = "meta-llama/Llama-2-7b-hf"

_FOUR_GPUS = Memory(checkpointing="full", sharding="fsdp2")
_ONE_GPU = Memory(checkpointing="selective", compile=True)
_LORA = Lora()
_LORA_OPTIMIZER = Optimizer(learning_rate=2e-4)

SOCRATIC_7B = Recipe(
    name="socratic_7b",
    purpose="the paper's user simulator: full fine-tune, 4×A100-80GB, FSDP2",
    side=Side.SOCRATIC,
    model=Model(path=_SOCRATIC_BASE),
    memory=_FOUR_GPUS,
)

PLATOLM_7B = Recipe(
    name="platolm_7b",
    purpose="the paper's respondent: full fine-tune, 4×A100-80GB, FSDP2",
    side=Side.PLATOLM,
    model=Model(path=_PLATOLM_BASE),
    memory=_FOUR_GPUS,
)


def _single_gpu(recipe: Recipe, name: str) -> Recipe:
    return recipe.model_copy(
        update={
            "name": name,
            "purpose": f"{recipe.side} on one 141 GB GPU: full fine-tune, weights and AdamW in float32",
            "memory": _ONE_GPU,
        }
    )


def _lora(recipe: Recipe, name: str) -> Recipe:
    return recipe.model_copy(
        update={
            "name": name,
            "purpose": f"{recipe.side} by low-rank adapters on one 80 GB GPU; the export is merged",
            "model": recipe.model.model_copy(update={"lora": _LORA}),
            "optimizer": _LORA_OPTIMIZER,
            "memory": Memory(weights="bfloat16", checkpointing="selective", compile=True),
        }
    )


SOCRATIC_7B_SINGLE_GPU = _single_gpu(SOCRATIC_7B, "socratic_7b_single_gpu")
PLATOLM_7B_SINGLE_GPU = _single_gpu(PLATOLM_7B, "platolm_7b_single_gpu")
SOCRATIC_7B_LORA = _lora(SOCRATIC_7B, "socratic_7b_lora")
PLATOLM_7B_LORA = _lora(PLATOLM_7B, "platolm_7b_lora")
