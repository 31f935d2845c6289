"""How much of what the engines' prefix caches could give they do give: hits against the attainable bound.

The bound of a conversation's later requests is what the engine holds of its earlier ones, in whole blocks; its first
request can only share the header with other conversations, and counts with the blocks with which all of a side's
prompts begin, once they were read on each replica (without a GPU a block is 128 tokens and the header shorter: none).
Hits are the engines' own counters; a killed engine's are read right before its end. What it lost has to be read anew
elsewhere: the bound makes no allowance for that. A request that was asked twice would count its hits twice: prompt
tokens that the dataset does not know are taken off the hits, as if all of them had been some.

Three runs on one set of engines, their caches emptied in between: one replica a side, three, and three of which one
respondent is killed when half of the utterances are said.

    python -m benchmarks.cache [--conversations 60] [--in-flight 24] [--only one|three|killed] [--json FILE]
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.table import Table

from benchmarks.bound import attainable
from benchmarks.cores import share_cores
from benchmarks.counters import Counters
from benchmarks.engines import (
    ROLES,
    Device,
    DeviceOption,
    Engine,
    KvCacheOption,
    RespondentOption,
    SimulatorOption,
    read_all,
    running_engines,
    served,
    urls_by_role,
)
from benchmarks.full_stack import Progress, Shape, complete, orchestrator
from benchmarks.pairs import Bench, require_room
from benchmarks.recorded import num_prompt_tokens, requests_of
from benchmarks.results import Detail, JsonFile, Result, measured, report
from benchmarks.setting import setting, shape_details
from platolm.cli.console import output_console, print_error
from platolm.conversation import ASSISTANT
from platolm.dataset import Record
from platolm.errors import PlatoLMError
from platolm.tokenizer import load_tokenizer

NAME = "cache"
REPLICAS = 3


class Variant(StrEnum):
    """Replicas of each side."""

    ONE = "one"
    THREE = "three"
    KILLED = "killed"


TITLES = {
    Variant.ONE: "hits against the bound, one replica a side",
    Variant.THREE: "hits against the bound, three replicas a side",
    Variant.KILLED: "hits against the bound, one of three killed in mid-run",
}
FLOORS = {Variant.ONE: 0.98, Variant.THREE: 0.95, Variant.KILLED: 0.90}


@dataclass(frozen=True)
class Hits:
    """What one run's engines counted, and what they could have."""

    variant: Variant
    counters: Counters
    attainable: int
    recorded_prompt_tokens: int
    killed_at: int | None = None
    """Utterances said when a replica was killed."""

    @property
    def asked_twice(self) -> int:
        """Prompt tokens that were looked up beyond those of the dataset."""
        return max(0, self.counters.cache_queries - self.recorded_prompt_tokens)

    @property
    def useful(self) -> int:
        """Hits that certainly served an utterance of the dataset."""
        return self.counters.cache_hits - self.asked_twice

    @property
    def ratio(self) -> float:
        return self.useful / self.attainable


def main(
    conversations: Annotated[int, typer.Option(min=1, help="Of each run.")] = 60,
    in_flight: Annotated[int, typer.Option(min=1, help="Conversations at a time.")] = 24,
    max_turns: Annotated[int, typer.Option(min=4, help="Utterances of a conversation.")] = 14,
    max_tokens: Annotated[int, typer.Option(min=1, help="New tokens that an utterance may take.")] = 48,
    context_tokens: Annotated[int, typer.Option(min=16, help="Tokens that a conversation reserves.")] = 1024,
    only: Annotated[list[Variant] | None, typer.Option(help="Not all three; may be given twice.")] = None,
    device: DeviceOption = Device.CPU,
    simulator: SimulatorOption = None,
    respondent: RespondentOption = None,
    kv_cache_gib: KvCacheOption = 1,
    json: JsonFile = None,
) -> None:
    """Measure prefix cache hits against the attainable bound."""
    variants = [variant for variant in Variant if not only or variant in only]
    replicas = 1 if variants == [Variant.ONE] else REPLICAS
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(
                served(simulator, respondent, device, kv_cache_gib=kv_cache_gib, replicas=replicas),
                share_cores(sorted(os.sched_getaffinity(0))),
                Shape(conversations, max_turns, max_tokens, context_tokens),
                in_flight,
                Path(folder),
            )
            hits = uvloop.run(measure(bench, variants))
    except PlatoLMError as error:
        sys.exit(print_error(error))
    show(hits)
    output_console().print(setting(bench), soft_wrap=True)
    report([as_result(one, bench) for one in hits], json)


async def measure(bench: Bench, variants: list[Variant]) -> list[Hits]:
    """One run for each variant; the engine that dies, dies in the last."""
    hits = []
    async with running_engines(bench.served, bench.cores, bench.folder) as engines:
        for variant in variants:
            used = first_of_each_role(engines) if variant is Variant.ONE else engines
            await require_room(used, bench)
            await asyncio.gather(*(engine.reset_cache() for engine in used if bench.served.resettable))
            hits.append(await measure_run(bench, variant, used))
    return hits


async def measure_run(bench: Bench, variant: Variant, engines: list[Engine]) -> Hits:
    """One run on these engines."""
    killer = Killer(engines, bench.shape.conversations * bench.shape.max_turns // 2)
    block = (await engines[0].cache_shape()).block_tokens
    before = await read_all(engines)
    with orchestrator(bench.room(variant), urls_by_role(engines), bench.in_flight, bench.cores) as api:
        run = await complete(api, bench.shape.spec(), killer.look if variant is Variant.KILLED else None)
    counters = await read_all(engines) - before
    bound = bound_of(run.records, bench, block, len(engines) // len(ROLES))
    return Hits(variant, counters, bound, num_prompt_tokens(run.records), killer.killed_at)


def bound_of(records: list[Record], bench: Bench, block_tokens: int, num_replicas: int) -> int:
    """The attainable bound of a run, from its dataset."""
    tokenizers = {role: load_tokenizer(model) for role, model in bench.served.models.items()}
    return attainable([requests_of(record, tokenizers) for record in records], block_tokens, num_replicas)


class Killer:
    """Kills one respondent once so many utterances are said."""

    def __init__(self, engines: list[Engine], at_utterances: int) -> None:
        self._victim = [engine for engine in engines if engine.role == ASSISTANT][-1]
        self._at = at_utterances
        self.killed_at: int | None = None

    async def look(self, progress: Progress) -> None:
        """To be called with a run's progress."""
        if self.killed_at is None and progress["utterances"] >= self._at:
            self.killed_at = int(progress["utterances"])
            await self._victim.kill()


def first_of_each_role(engines: list[Engine]) -> list[Engine]:
    return [next(engine for engine in engines if engine.role == role) for role in ROLES]


def show(hits: list[Hits]) -> None:
    """A row for each run."""
    table = Table("replicas", "looked up", "asked twice", "attainable", "hits", "ratio")
    for one in hits:
        counts = (one.counters.cache_queries, one.asked_twice, one.attainable, one.counters.cache_hits)
        table.add_row(one.variant, *(f"{count:,}" for count in counts), f"{one.ratio:.3f}")
    output_console().print(table)


def as_result(hits: Hits, bench: Bench) -> Result:
    details: dict[str, Detail] = {
        **shape_details(bench),
        "hits, tokens": hits.counters.cache_hits,
        "attainable, tokens": hits.attainable,
        "asked twice, tokens": hits.asked_twice,
        "preemptions": hits.counters.preemptions,
    }
    if hits.killed_at is not None:
        details["killed after utterances"] = hits.killed_at
    return measured(NAME, TITLES[hits.variant], hits.ratio, floor=FLOORS[hits.variant], details=details)


if __name__ == "__main__":
    typer.run(main)
