"""A trained model's card: what it is, from what, how well, and how to serve it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from platolm.dyadic import PROFILES

_FRONT_MATTER = """---
pipeline_tag: text-generation
library_name: transformers
tags: [platolm, user-simulation, dialogue]
---
"""

_PURPOSES = {
    "socratic": "A user simulator: it speaks as the **user**, opens a conversation by itself and asks on.",
    "platolm": "A respondent: it speaks as the **assistant**.",
    "both": "A base for both sides: either side's turns were trained, under either header.",
}


def run_card(record: Mapping[str, Any]) -> str:
    """Markdown from `training.json`'s content."""
    recipe, result = record["recipe"], record["result"]
    parts = [
        _FRONT_MATTER,
        f"# {recipe['name']}\n\n{_PURPOSES[recipe['side']]}\nFrom `{recipe['model']['path']}`"
        f"{' by low-rank adapters, merged' if recipe['model']['lora'] else ''}.\n",
        _format(recipe["side"]),
        _results(result),
        _settings(recipe, result),
    ]
    return "\n".join(part for part in parts if part)


def _format(side: str) -> str:
    profile = PROFILES.get(side)
    if profile is None:
        return ""
    return (
        f"## Format\n\nThe dyadic format under the header\n\n    {profile.header.strip()}\n\n"
        "The chat template renders it as text; serving through PlatoLM Stack composes token ids, so "
        "that nothing typed becomes a control token.\n\n"
        f"    platolm up --{'simulator' if side == 'socratic' else 'respondent'}-model FOLDER\n"
    )


def _results(result: Mapping[str, Any]) -> str:
    if result["held_out_loss"] is None:
        return ""
    before = result["held_out_loss_before"]
    whose = f"at step {result['best_step']:,}"
    if "share_of_the_way" in result:
        whose = f"with the weights {result['share_of_the_way']:.0%} of the way from the base to the fine-tune"
    return (
        "## Held-out loss\n\nNats a token over the target turns of conversations that were kept out of training: "
        + (f"{before:.4f} before, " if before is not None else "")
        + f"{result['held_out_loss']:.4f} {whose}, which are these.\n"
    )


def _settings(recipe: Mapping[str, Any], result: Mapping[str, Any]) -> str:
    batch, optimizer, data = recipe["batch"], recipe["optimizer"], recipe["data"]
    return (
        f"## Training\n\nMasked supervised fine-tuning: {result['rows']:,} rows of at most {data['max_length']:,} "
        f"tokens, {result['steps']:,} steps of {batch['size']:,} {batch['unit']}, {result['epochs']:.2f} epochs, "
        f"{optimizer['name']} with peak learning rate {optimizer['learning_rate']:g}. All settings and the data's "
        "account are in `training.json`.\n"
    )
