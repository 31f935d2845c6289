"""One engine for both sides against two: the same base, the same adapters, the same openings, greedy.

*Same text*: one dialogue at a time, in float32, must come out the same to the last id; with many in flight the share of
the same dialogues is told, since a batch's size decides in which order a sum is made.

*Memory*: what the engines' processes hold, and how many tokens their KV caches do, from the same amount of memory.

*Throughput*: generated tokens a second with many dialogues in flight, on the same cores or card.

    python -m benchmarks.shared_engine [--base FOLDER --simulator ADAPTER --respondent ADAPTER]
        [--dialogues 64] [--in-flight 64] [--alone 8] [--dtype float32] [--json FILE]
"""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cores import share_cores
from benchmarks.counters import CacheShape
from benchmarks.results import JsonFile, Result, measured, report
from benchmarks.sharing import (
    Arrangement,
    Dialogue,
    Pair,
    Resources,
    Size,
    dialogues,
    num_tokens,
    on_one_engine,
    on_two_engines,
    share_identical,
)
from platolm.conversation import ASSISTANT, USER
from platolm.errors import InputError
from platolm.seeds import OPENINGS_FILE, read_seeds
from platolm.spec import SeedMode
from platolm.stack.adapters import read_adapter
from platolm.stack.demo import demo_adapter, demo_model
from platolm.tokenizer import HubTokenizer, load_tokenizer

NAME = "shared_engine"
_MAX_TOKENS = 48
Served = Callable[[Pair, Resources], AbstractAsyncContextManager[Arrangement]]


@dataclass(frozen=True)
class Outcome:
    """What one way of serving did."""

    alone: list[Dialogue]
    together: list[Dialogue]
    seconds: float
    memory_mib: float
    cache: CacheShape

    @property
    def tokens_per_s(self) -> float:
        return num_tokens(self.together) / self.seconds


@dataclass(frozen=True)
class Work:
    """What both ways are asked for: the first `alone` dialogues one at a time, then all, `in_flight` at a time."""

    tokenizer: HubTokenizer
    openings: Sequence[str]
    size: Size
    alone: int
    in_flight: int


def main(
    base: Annotated[str | None, typer.Option(help="Folder of the adapters' base; default: the demo's.")] = None,
    simulator: Annotated[
        str | None, typer.Option(help="Folder of the simulator's adapter; default: the demo's.")
    ] = None,
    respondent: Annotated[
        str | None, typer.Option(help="Folder of the respondent's adapter; default: the demo's.")
    ] = None,
    number: Annotated[int, typer.Option("--dialogues", min=1, help="With many in flight.")] = 64,
    in_flight: Annotated[int, typer.Option(min=1, help="Of these, at a time.")] = 64,
    alone: Annotated[int, typer.Option(min=1, help="Dialogues one at a time, before.")] = 8,
    utterances: Annotated[int, typer.Option(min=2, help="Of each dialogue.")] = 6,
    dtype: Annotated[str, typer.Option(help="What the engines compute in.")] = "float32",
    json: JsonFile = None,
) -> None:
    """Compare one engine with two adapters with two engines of one each: text, memory, throughput."""
    pair = pair_of(base, simulator, respondent)
    openings = [seed.question or "" for seed in read_seeds(OPENINGS_FILE, SeedMode.QUESTION).seeds]
    wanted = list(islice(cycle(openings), number))
    work = Work(load_tokenizer(pair.base), wanted, Size(utterances, _MAX_TOKENS), alone, in_flight)
    with tempfile.TemporaryDirectory(prefix="shared-engine-") as folder:
        given = Resources(share_cores(sorted(os.sched_getaffinity(0))), Path(folder), dtype)
        two, one = (asyncio.run(measure(way, pair, given, work)) for way in (on_two_engines, on_one_engine))
    report(results(one, two, work, dtype), json)


async def measure(served: Served, pair: Pair, given: Resources, work: Work) -> Outcome:
    """Serve a pair in one way, and have it talk."""
    async with served(pair, given) as arrangement:
        return await outcome_of(arrangement, work)


async def outcome_of(arrangement: Arrangement, work: Work) -> Outcome:
    """What a pair does that is being served."""
    few, many = work.openings[: work.alone], work.openings
    alone, _ = await dialogues(arrangement, work.tokenizer, few, work.size, 1)
    together, seconds = await dialogues(arrangement, work.tokenizer, many, work.size, work.in_flight)
    return Outcome(alone, together, seconds, arrangement.memory_mib(), await arrangement.cache())


def results(one: Outcome, two: Outcome, work: Work, dtype: str) -> list[Result]:
    """The figures of one engine beside those of two."""
    shape = {"dialogues": len(work.openings), "in flight": work.in_flight, "utterances of each": work.size.utterances}
    return [
        measured(
            NAME,
            f"the same dialogues, one at a time, {dtype}",
            share_identical(one.alone, two.alone),
            floor=1.0 if dtype == "float32" else None,
            details={"dialogues": len(one.alone)},
        ),
        measured(
            NAME,
            f"the same dialogues, {work.in_flight} in flight, {dtype}",
            share_identical(one.together, two.together),
            details=shape,
        ),
        measured(
            NAME,
            "memory of one engine ÷ memory of two",
            one.memory_mib / two.memory_mib,
            higher_is_better=False,
            details={
                "one, MiB": one.memory_mib,
                "two, MiB": two.memory_mib,
                "tokens of one's KV cache": one.cache.num_tokens,
                "of two's together": two.cache.num_tokens,
            },
        ),
        measured(
            NAME,
            "tokens/s of one engine ÷ tokens/s of two",
            one.tokens_per_s / two.tokens_per_s,
            details={**shape, "one, tokens/s": one.tokens_per_s, "two, tokens/s": two.tokens_per_s},
        ),
    ]


def pair_of(base: str | None = None, simulator: str | None = None, respondent: str | None = None) -> Pair:
    """What is named, else the demo's.

    Raises:
        InputError: there is no such adapter, or no demo here.
    """
    base, simulator = base or demo_model("base"), simulator or demo_adapter("socratic")
    respondent = respondent or demo_adapter("platolm")
    if base is None or simulator is None or respondent is None:
        raise InputError("there is no demo pair of adapters here: name --base, --simulator and --respondent")
    return Pair(base, {USER: read_adapter(simulator), ASSISTANT: read_adapter(respondent)})


if __name__ == "__main__":
    typer.run(main)
