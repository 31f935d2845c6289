"""The card of the demo pair's adapters, from what their runs and the measurement beside them recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from training.card import runs_table

Columns = Sequence[Mapping[str, Any]]
"""`training.evaluate.as_json`'s: one for each role's turns."""

_SAME_NATS = 5e-4
"""So close a base's loss is where two measurements read the same dialogues."""


def adapter_card(records: Mapping[str, Mapping[str, Any]], columns: Columns, full: Columns | None) -> str:
    """`README.md` of the folder that holds both adapters.

    Args:
        records: each adapter's `training.json`.
        columns: the adapters, merged into their base, and the base on held-out dialogues.
        full: the full fine-tunes and the base, where they were measured; left out where the base's loss differs.
    """
    lora = next(iter(records.values()))["recipe"]["model"]["lora"]
    return "\n".join(
        [
            "# The demo pair as adapters\n",
            "`socratic` and `platolm` once more, as LoRA adapters of the demo's `base`, so that one engine can serve "
            "both sides: `platolm up --shared-engine`. Written by `python -m training.demo_adapters`; data, licences "
            "and limits are those of the demo models ([their card](../README.md)).\n",
            f"Rank {lora['rank']} on every linear layer but the head, scaled by {lora['alpha']}/√{lora['rank']}; "
            "masked fine-tuning on the side's own turns with AdamW. Stored, in bfloat16, is the part of the way from "
            f"no change at all that validation likes best: {_shares(records)}.\n",
            runs_table(records),
            "Held-out loss in nats a token; the difference with the 95 % interval of a paired bootstrap over dialogues "
            "(below zero: the adapter is ahead of its base):\n",
            _loss_table(columns, full),
        ]
    )


def _shares(records: Mapping[str, Mapping[str, Any]]) -> str:
    return ", ".join(f"{name} {record['result']['share_of_the_way']:.0%}" for name, record in records.items())


def _loss_table(columns: Columns, full: Columns | None) -> str:
    lines = ["| turns | base | adapter | adapter − base | full fine-tune |", "|---|---|---|---|---|"]
    for position, column in enumerate(columns):
        nats, ahead = column["nats_per_token"], column["ahead"]["base"]
        lines.append(
            f"| {column['role']} | {nats['base']:.3f} | {nats[column['owner']]:.3f} | {ahead['mean']:+.4f} "
            f"[{ahead['low']:+.4f}, {ahead['high']:+.4f}] | {_full_nats(column, full[position] if full else None)} |"
        )
    return "\n".join(lines) + "\n"


def _full_nats(column: Mapping[str, Any], full: Mapping[str, Any] | None) -> str:
    if full is None or abs(full["nats_per_token"]["base"] - column["nats_per_token"]["base"]) > _SAME_NATS:
        return "not measured on these"
    return f"{full['nats_per_token'][column['owner']]:.3f}"
