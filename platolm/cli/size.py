"""`platolm size`: how many engines, workers and hours a run takes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from platolm.cli.console import output_console, print_notice
from platolm.conversation import ASSISTANT, USER
from platolm.dataset import read_records
from platolm.errors import InputError
from platolm.sizing.curves import DEMO_CURVE, read_curve
from platolm.sizing.load import Dialogue, SideLoad, measured_loads
from platolm.sizing.plan import Plan, Wish, plan

SIZE_EPILOG = """
**Examples**

- `platolm size --replicas 1:1 --shared-cores`

- `platolm size --rounds 5 --user-tokens 40 --assistant-tokens 250 --per-hour 20000 --curve h100.json --price 2.50`

- `platolm size --like runs/mine --replicas 2:6 --curve h100.json --conversations 1000000 --json`

**The formula.** While n requests of g generated and p uncached prompt tokens run at an engine that holds c tokens for
each, they are completed in t(n) = g · step(n, n·c) + n · (request + p · prefill) seconds. With R replicas, u utterances
of a conversation and X conversations a second, each replica has n(X·u/R) running, where n/t(n) = X·u/R. X brings
the conversations in flight to what KV caches and workers allow, and at most what the slower side's engines carry. See
docs/sizing.md.
"""


def size(
    rounds: Annotated[float, typer.Option(min=1, help="Rounds of a conversation, in the mean.")] = 3,
    user_tokens: Annotated[float, typer.Option(min=1, help="Tokens of a user's utterance, in the mean.")] = 20,
    assistant_tokens: Annotated[float, typer.Option(min=1, help="Tokens of an answer, in the mean.")] = 40,
    opening_tokens: Annotated[float, typer.Option(min=0, help="Tokens at the head of every prompt.")] = 32,
    like: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Take all tokens from this run's dataset instead.")
    ] = None,
    hit_share: Annotated[
        float, typer.Option(min=0, max=1, help="Share of what the prefix caches could give that they give.")
    ] = 1.0,
    curve: Annotated[
        str, typer.Option(metavar="NAME", help="Engines' curve: one that comes with the project, or a file.")
    ] = DEMO_CURVE,
    simulator_curve: Annotated[str | None, typer.Option(metavar="NAME", help="The simulator's, if another.")] = None,
    respondent_curve: Annotated[str | None, typer.Option(metavar="NAME", help="The respondent's, if another.")] = None,
    per_hour: Annotated[float | None, typer.Option(min=0.001, help="Conversations an hour to reach.")] = None,
    replicas: Annotated[
        str | None, typer.Option(metavar="S:R", help="Replicas that are there, simulators and respondents.")
    ] = None,
    headroom: Annotated[float, typer.Option(min=0, max=0.99, help="Share of the engines' rate to keep free.")] = 0.0,
    max_in_flight: Annotated[
        int | None, typer.Option(min=1, help="Conversations that all workers hold; default: what KV caches hold.")
    ] = None,
    shared_cores: Annotated[
        bool, typer.Option("--shared-cores", help="Worker and Redis run on the engines' own cores.")
    ] = False,
    conversations: Annotated[int | None, typer.Option(min=1, help="Of the run, for its hours and cost.")] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Of a GPU for an hour.")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print the plan as JSON.")] = False,
) -> None:
    """Size a run: replicas for conversations an hour, or conversations an hour for replicas."""
    curves = {USER: read_curve(simulator_curve or curve), ASSISTANT: read_curve(respondent_curve or curve)}
    blocks = {role: one.block_tokens for role, one in curves.items()}
    loads: Mapping[str, SideLoad]
    if like is not None:
        loads = measured_loads(read_records(like), blocks)
    else:
        dialogue = Dialogue(rounds, user_tokens, assistant_tokens, opening_tokens, hit_share=hit_share)
        loads = dialogue.loads(blocks)
    if per_hour is None and replicas is None:
        replicas = "1:1"
    wish = Wish(
        curves,
        loads,
        conversations_per_h=per_hour,
        replicas=None if replicas is None else _counts(replicas),
        conversations=conversations,
        price_per_gpu_h=price,
        max_in_flight=max_in_flight,
        headroom=headroom,
        shared_cores=shared_cores,
    )
    found = plan(wish)
    if json:
        print(found.model_dump_json(indent=2))
        return
    for warning in found.warnings:
        print_notice(warning)
    output_console().print(_sides_table(found, loads))
    output_console().print(_plan_table(found))


def _counts(text: str) -> dict[str, int]:
    """Replicas by role from `S:R`.

    Raises:
        InputError: it is not two whole numbers above 0.
    """
    parts = text.split(":")
    if len(parts) != 2 or not all(part.isdecimal() and int(part) for part in parts):
        raise InputError(f"--replicas {text}: give simulators and respondents as two numbers, such as 2:6")
    return {USER: int(parts[0]), ASSISTANT: int(parts[1])}


def _sides_table(found: Plan, loads: Mapping[str, SideLoad]) -> Table:
    table = Table("", *found.sides)
    sides, of_side = found.sides.values(), [loads[role] for role in (USER, ASSISTANT)]
    rows: dict[str, list[str]] = {
        "utterances of a conversation": [f"{load.utterances:.1f}" for load in of_side],
        "tokens generated of it": [f"{load.generated:,.0f}" for load in of_side],
        "prompt tokens, not cached": [f"{load.prompt:,.0f}, {load.prefilled:,.0f}" for load in of_side],
        "KV tokens reserved": [f"{load.reserved:,.0f}" for load in of_side],
        "curve": [side.curve if side.is_measured else f"{side.curve} (not measured)" for side in sides],
        "replicas": [f"{side.replicas:,}" for side in sides],
        "GPUs": [f"{side.gpus:g}" for side in sides],
        "running at a replica": [f"{side.running_per_replica:.1f}" for side in sides],
        "share of its most": [f"{side.busy:.0%}" for side in sides],
        "tokens/s generated": [f"{side.tokens_per_s:,.0f}" for side in sides],
    }
    for name, cells in rows.items():
        table.add_row(name, *cells)
    return table


def _plan_table(found: Plan) -> Table:
    table = Table(show_header=False)
    workers = f"{found.workers:,} ({found.utterances_per_s:,.0f} utterances/s, {found.worker_memory_mib:,.0f} MiB)"
    rows = {
        "conversations an hour": f"{found.conversations_per_h:,.0f}",
        "limited by": found.limit,
        "in flight": f"{found.in_flight:,.0f}, each for {found.conversation_s:,.1f} s",
        "worker processes": workers,
        "Redis": f"{found.redis_cores:.2f} cores",
        "GPUs": f"{found.gpus:g}" if found.gpus else None,
        "conversations/hour/GPU": _figure(found.conversations_per_gpu_h),
        "the run": None if found.hours is None else f"{found.conversations:,} conversations in {found.hours:,.1f} h",
        "GPU-hours": _figure(found.gpu_hours) if found.gpus else None,
        "cost": None if found.cost is None else f"{found.cost:,.2f}",
        "cost of 1,000": None if found.cost_per_1000 is None else f"{found.cost_per_1000:,.2f}",
    }
    for name, text in rows.items():
        if text is not None:
            table.add_row(name, text)
    return table


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:,.1f}"
