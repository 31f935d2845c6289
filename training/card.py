"""Write the demo models' cards from what the runs recorded: sources, recipe, losses, limits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from platolm.dyadic import PLATOLM, PROFILES, SOCRATIC
from training.export import read_record
from training.recipes.recipe import ModelShape
from training.sources import DEMO_SOURCES, HELD_OUT_SHARE, VALIDATION_SHARE, Dialogues, Split

MEASURES = "evaluation.json"

_FRONT_MATTER = """---
license: apache-2.0
language: en
pipeline_tag: text-generation
library_name: transformers
tags: [platolm, user-simulation, dialogue]
---
"""

_PURPOSES = {
    SOCRATIC.name: "speaks as the **user**: it opens a conversation by itself and asks on",
    PLATOLM.name: "speaks as the **assistant**: it answers",
    "base": "is the **shared start** of both, trained on either side's turns, kept so that the table can be made again",
}

_LIMITS = """## Limits

- It has read about four megabytes of text and has a few million parameters. It writes recognisable, often odd English,
  knows no facts and must not be asked for advice. It shows how the two sides work together, not how well they can.
- English only. Crowd workers' and volunteers' text: its tone and its prejudices are theirs. Dialogues with a word of a
  short list were left out of training; that is a coarse filter, not a safety guarantee.
- Positions beyond the context were never trained.
"""


def write_cards(out: Path, shape: ModelShape) -> None:
    """`README.md` in `out` and in each model's folder, from their `training.json` and `out/evaluation.json`."""
    measures = json.loads((out / MEASURES).read_text(encoding="utf-8"))
    for name in _PURPOSES:
        (out / name / "README.md").write_text(model_card(name, out, shape, measures), encoding="utf-8")
    (out / "README.md").write_text(pair_card(out, shape, measures), encoding="utf-8")


def data_account(dialogues: Dialogues) -> dict[str, Any]:
    """The part of `evaluation.json` that says what was read."""
    return {
        "dialogues": {split.value: len(dialogues.by_split[split]) for split in Split},
        "used": dict(dialogues.used),
        "left_out": dict(dialogues.dropped),
    }


def model_card(name: str, out: Path, shape: ModelShape, measures: Mapping[str, Any]) -> str:
    """One model's card."""
    record = read_record(out / name)
    parts = [
        _FRONT_MATTER,
        f"# {name}\n\nA small Llama that {_PURPOSES[name]}. One of PlatoLM Stack's demo models, made for trying the "
        "stack on a machine without a GPU.\n",
    ]
    if name in PROFILES:
        parts.append(_format_section(name))
    parts += [_shape_section(shape, out / name), _training_section(record), _sources_section(measures)]
    parts += [_results_section(measures), _LIMITS]
    return "\n".join(parts)


def pair_card(out: Path, shape: ModelShape, measures: Mapping[str, Any]) -> str:
    """The card of the folder that holds them all."""
    models = "".join(f"- `{name}` {purpose}.\n" for name, purpose in _PURPOSES.items())
    runs = {name: read_record(out / name) for name in ("base", *PROFILES)}
    parts = [
        "# The demo models\n\nA user simulator and a respondent small enough for two cores, and the base both come "
        f"from. One tokenizer, one context, {shape.context} tokens.\n\n{models}",
        "Made from nothing by `make demo-models`, and measured by `python -m training.evaluate` and "
        "`python -m training.simulate`.\n",
        "`python -m training.demo_adapters` makes the two sides as LoRA adapters of `base`, in `adapters/`, for one "
        "engine that serves both.\n",
        _sources_section(measures),
        "## Training\n\n" + runs_table(runs),
        _results_section(measures),
        _LIMITS,
    ]
    return "\n".join(parts)


def _format_section(name: str) -> str:
    profile = PROFILES[name]
    opening = "Human" if profile is SOCRATIC else "Assistant"
    return (
        "## Format\n\nThe dyadic format: the header below, then for every turn `Human: ` or `Assistant: `, `<s>`, the "
        f"text, `</s>`, with nothing between turns. The model goes on after `{opening}: <s>` and ends its turn with "
        f"`</s>`.\n\n    {profile.header.strip()}\n\n"
        "`platolm.dyadic` composes the ids; the chat template renders the same as text, but lets a typed `</s>` become "
        "a control token.\n"
    )


def _shape_section(shape: ModelShape, folder: Path) -> str:
    size_bytes = (folder / "model.safetensors").stat().st_size
    return (
        "## Architecture\n\n"
        f"LlamaForCausalLM, {shape.num_layers} layers, hidden size {shape.hidden_size}, {shape.num_heads} heads of "
        f"{shape.hidden_size // shape.num_heads}, MLP {shape.intermediate_size}, tied embeddings, bf16, "
        f"{size_bytes / 1e6:.1f} MB. Byte-level BPE with {shape.vocab_size:,} entries, no normalisation; `<s>`, "
        f"`</s>`, `<pad>` and `<unk>` are special. Context {shape.context} tokens, the longest row in training.\n"
    )


def _training_section(record: Mapping[str, Any]) -> str:
    recipe, data = record["recipe"], record["recipe"]["data"]
    profile = PROFILES.get(recipe["side"])
    headers = profile.name if profile else " and ".join(PROFILES)
    labelled = f"{profile.target_role} turns only" if profile else "both sides' turns"
    limits = ", ".join(f"{role} {limit}" for role, limit in data["turn_limits"].items())
    return (
        "## Training\n\n"
        f"Masked fine-tuning with TRL's SFTTrainer; labels on {labelled}, under the header of {headers}. A dialogue is "
        f"cut before its first turn longer than so many tokens: {limits}. As an augmentation, {data['join_share']:.0%} "
        f"of the dialogues are joined, one after another, into conversations as long as the context, in "
        f"{data['arrangements']} arrangements. {_optimizer(recipe['optimizer'])}, {recipe['batch']['size']} rows a "
        f"step, cosine, weight decay {recipe['optimizer']['weight_decay']:g}, residual dropout "
        f"{recipe['model']['residual_dropout']:g}, bf16 autocast, two CPU cores. The weights of the lowest validation "
        f"loss are kept; rows without any label are dropped.{_blend(record['result'])}{record.get('note', '')}\n\n"
        + runs_table({recipe["side"] if profile else "base": record})
    )


def _optimizer(optimizer: Mapping[str, Any]) -> str:
    adamw = f"AdamW with peak learning rate {optimizer['learning_rate']:g}"
    if optimizer["name"] == "adamw":
        return adamw
    return f"Muon on the hidden matrices with {optimizer['muon_learning_rate']:g}, {adamw} on the rest"


def _blend(result: Mapping[str, Any]) -> str:
    if "share_of_the_way" not in result:
        return ""
    return (
        f" What is stored lies {result['share_of_the_way']:.0%} of the way from the base's weights to the fine-tune's, "
        "the share with the lowest validation loss."
    )


def runs_table(records: Mapping[str, Mapping[str, Any]]) -> str:
    """What each run read and reached, from its `training.json`."""
    lines = [
        "| run | steps | tokens seen | labels seen | minutes | best validation loss (nats a token) |",
        "|---|---|---|---|---|---|",
    ]
    for name, record in records.items():
        result = record["result"]
        lines.append(
            f"| {name} | {result['steps']:,} | {result['tokens']:,} | {result['labels']:,} | "
            f"{result['seconds'] / 60:.0f} | {result['held_out_loss']:.3f} |"
        )
    return "\n".join(lines) + "\n"


def _sources_section(measures: Mapping[str, Any]) -> str:
    data = measures["data"]
    lines = ["| source | dialogues | licence | attribution |", "|---|---|---|---|"]
    for source in DEMO_SOURCES:
        lines.append(
            f"| {source.title} | {data['used'].get(source.file, 0):,} | {source.licence} | {source.attribution} |"
        )
    left_out = ", ".join(f"{reason}: {count}" for reason, count in sorted(data["left_out"].items()))
    counts = data["dialogues"]
    return (
        "## Data\n\nReal people's turns with an assistant, under licences that allow redistribution and change; no "
        "benchmark, scripted, synthetic, share-alike or non-commercial source. The text itself is not part of this "
        "repository.\n\n" + "\n".join(lines) + "\n\n"
        "Split by a hash of the opening, so that no opening is on two sides: "
        f"{counts['train']:,} dialogues for training, {counts['validation']:,} for validation "
        f"({VALIDATION_SHARE:.0%} of the openings), {counts['held_out']:,} held out ({HELD_OUT_SHARE:.0%}). "
        f"Typographic quotes were made plain. Left out: {left_out}.\n"
    )


def _results_section(measures: Mapping[str, Any]) -> str:
    columns, findings = measures["columns"], measures["simulation"]
    return (
        "## Results\n\nLoss on held-out dialogues' turns in nats a token, in brackets bits a byte; turn lengths as in "
        "each side's training. The 5-gram is interpolated Kneser-Ney over the same tokens and training split.\n\n"
        + _loss_table(columns)
        + "\nOwn model minus the other, nats a token, 95 % interval of a paired bootstrap over dialogues (below zero: "
        "the own model is ahead):\n\n"
        + _ahead_table(columns)
        + f"\n{findings['num_dialogues']} free dialogues at temperature 0.7 until the context is full, no top-p or "
        "top-k, 192 new tokens at most:\n\n" + _simulation_table(findings)
    )


def _loss_table(columns: Sequence[Mapping[str, Any]]) -> str:
    head = "| model | " + " | ".join(f"{column['role']} turns" for column in columns) + " |"
    lines = [head, "|---" * (len(columns) + 1) + "|"]
    for name in columns[0]["nats_per_token"]:
        cells = [f"{column['nats_per_token'][name]:.3f} ({column['bits_per_byte'][name]:.3f})" for column in columns]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _ahead_table(columns: Sequence[Mapping[str, Any]]) -> str:
    lines = ["| turns | own | other | difference | interval |", "|---|---|---|---|---|"]
    for column in columns:
        for name, interval in column["ahead"].items():
            lines.append(
                f"| {column['role']} | {column['owner']} | {name} | {interval['mean']:+.4f} | "
                f"[{interval['low']:+.4f}, {interval['high']:+.4f}] |"
            )
    return "\n".join(lines) + "\n"


def _simulation_table(findings: Mapping[str, Any]) -> str:
    lines = ["| measure | value |", "|---|---|"]
    for role, share in findings["ended_by_role"].items():
        lines.append(f"| {role} utterances that end by themselves | {share:.1%} |")
        lines.append(f"| tokens of an utterance, {role} | {findings['tokens_by_role'][role]:.1f} |")
    lines.append(f"| utterances | {findings['num_utterances']:,} |")
    lines.append(f"| empty utterances | {findings['empty']:.2%} |")
    lines.append(f"| said before by the same side in the same dialogue | {findings['repeated']:.2%} |")
    lines.append(f"| distinct first questions | {findings['distinct_first_questions']:.1%} |")
    return "\n".join(lines) + "\n"
