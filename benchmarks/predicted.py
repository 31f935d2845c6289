"""What the formula of `platolm size` and the simulation say of a run, beside that run.

A run of conversations that end by their number of turns goes through API, writer, Redis and a worker, before engines
that were just started (benchmarks.saturation's stack). Its own dataset gives the tokens of its conversations. What the
engines do is a curve, measured at these very engines before the run and again after it (benchmarks.engine_curve), so
that what else the machine does then is in both; --curve names another. Nothing else is known to either:

*formula*: conversations an hour in the middle of the run, between a fifth and four fifths of its utterances, against
`platolm.sizing.formula`;

*simulation*: conversations an hour of the whole run, its beginning and its end included, against `simulation.model` on
the same utterances.

Figures are measured ÷ predicted, medians over the runs. Hours are of the processor time that an engine got, in curve
and run alike, and not the clock's: on a machine that does other things too, a run and its curve are otherwise of
different machines. What others took, and the clock's figure, are told.

    python -m benchmarks.predicted [--curve FILE] [--runs 3] [--conversations 320] [--in-flight 64] [--json FILE]
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import numpy as np
import psutil
import typer
import uvloop

from benchmarks.cores import pinned_to, share_cores
from benchmarks.engine_curve import Load, Reading, Target, curve_of, measure_all, target_of
from benchmarks.engines import Device, Engine, read_all, running_engines, served, urls_by_role
from benchmarks.full_stack import Progress, Shape, complete, orchestrator
from benchmarks.load_generator import hit_share
from benchmarks.pairs import Bench, require_room
from benchmarks.recorded import in_order, num_output_tokens
from benchmarks.results import Detail, JsonFile, measured, report
from benchmarks.setting import shape_details
from platolm.cli.console import message_console, print_error
from platolm.dataset import Record
from platolm.errors import PlatoLMError
from platolm.sizing.curves import EngineCurve, read_curve
from platolm.sizing.formula import Side, throughput
from platolm.sizing.load import measured_loads
from platolm.sizing.plan import SECONDS_PER_HOUR
from simulation.model import Setup, simulate
from simulation.placement import Policy
from simulation.workload import Workload

NAME = "predicted"
FLOOR = 0.9
_MIDDLE = (0.2, 0.8)
_WINDOW_S = 2.5


@dataclass(frozen=True)
class Compared:
    """One run: conversations an hour as measured and as predicted."""

    middle: float
    formula: float
    whole: float
    simulated: float
    hits: float
    simulated_hits: float
    by_the_clock: float
    others_cores: float
    fit_error: float


def main(
    curve: Annotated[str | None, typer.Option(help="A curve's file or name, instead of a measured one.")] = None,
    runs: Annotated[int, typer.Option(min=1, help="Runs, one after the other.")] = 3,
    conversations: Annotated[int, typer.Option(min=1, help="Of each run.")] = 320,
    in_flight: Annotated[int, typer.Option(min=1, help="Conversations at a time.")] = 64,
    max_turns: Annotated[int, typer.Option(min=2, help="Utterances of a conversation.")] = 6,
    max_tokens: Annotated[int, typer.Option(min=1, help="New tokens that an utterance may take.")] = 128,
    json: JsonFile = None,
) -> None:
    """Compare runs with what was predicted of them."""
    try:
        given = None if curve is None else read_curve(curve)
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(
                served(None, None, Device.CPU),
                share_cores(sorted(os.sched_getaffinity(0))),
                Shape(conversations, max_turns, max_tokens, 1024),
                in_flight,
                Path(folder),
            )
            compared = [uvloop.run(compare(bench, f"run-{number}", given)) for number in range(runs)]
    except PlatoLMError as error:
        sys.exit(print_error(error))
    details: dict[str, Detail] = {
        **shape_details(bench),
        "runs": runs,
        "measured, conversations/h": median(one.middle for one in compared),
        "formula, conversations/h": median(one.formula for one in compared),
        "the whole run measured": median(one.whole for one in compared),
        "the whole run simulated": median(one.simulated for one in compared),
        "cache hits measured": median(one.hits for one in compared),
        "cache hits simulated": median(one.simulated_hits for one in compared),
        "the whole run by the clock": median(one.by_the_clock for one in compared),
        "cores that others took": median(one.others_cores for one in compared),
        "largest error of the curves' fit": max(one.fit_error for one in compared),
        "cores": str(bench.cores),
    }
    by_formula = [one.middle / one.formula for one in compared]
    by_model = [one.whole / one.simulated for one in compared]
    report(
        [
            measured(NAME, "a run's middle ÷ the formula", median(by_formula), details=details | _spread(by_formula)),
            measured(NAME, "a whole run ÷ the simulation", median(by_model), details=_spread(by_model)),
        ],
        json,
    )


async def compare(bench: Bench, name: str, given: EngineCurve | None) -> Compared:
    """One run before new engines; None: their curve is measured around it."""
    folder = bench.room(name)
    polled: list[tuple[float, int]] = []
    engines: list[Engine] = []

    def engine_s() -> float:
        return sum(engine.processor_s() for engine in engines) / len(engines)

    async def note(progress: Progress) -> None:
        polled.append((engine_s(), int(progress["utterances"])))

    async with running_engines(bench.served, bench.cores, folder) as started:
        engines += started
        await require_room(engines, bench)
        targets = [target_of(engine) for engine in engines]
        readings: list[Reading] = []
        if given is None:
            readings += await _read_curve(bench, targets)
        before = await read_all(engines)
        cpu, began = _busy_cpu(), time.monotonic()
        with orchestrator(folder, urls_by_role(engines), bench.in_flight, bench.cores) as api:
            own = psutil.Process()
            own_before = _tree_cpu(own)
            engine_began = engine_s()
            run = await complete(api, bench.shape.spec(), note)
            engine_spent = engine_s() - engine_began
            own_cpu = _tree_cpu(own) - own_before
        others = max(0.0, _busy_cpu() - cpu - own_cpu) / (time.monotonic() - began)
        counters = await read_all(engines) - before
        cache = await engines[0].cache_shape()
        if given is None:
            readings += await _read_curve(bench, targets)
    curve = given or curve_of(readings, cache, name=name, model="", hardware="", max_batch=256)
    records = in_order(run.records)
    formula = by_formula(records, curve, bench.in_flight)
    outcome = simulate(_setup(curve, bench.in_flight), workload_of(records))
    compared = Compared(
        SECONDS_PER_HOUR * middle_rate(polled, len(records) * bench.shape.max_turns) / bench.shape.max_turns,
        formula,
        SECONDS_PER_HOUR * len(records) / engine_spent,
        outcome.conversations_per_h,
        hit_share(counters),
        outcome.hit_share,
        SECONDS_PER_HOUR * len(records) / run.seconds,
        others,
        curve.fit_error or 0.0,
    )
    message_console().print(f"{name}: {compared}", markup=False)
    return compared


async def _read_curve(bench: Bench, targets: Sequence[Target]) -> list[Reading]:
    """At batches about as large as a run has them, half of its conversations at either side."""
    half = bench.in_flight / 2
    batches = sorted({max(1, round(half * share)) for share in (0.5, 0.75, 1.0, 1.25)})
    loads = [Load(batch, prompt, output) for batch in batches for prompt in (32, 128) for output in (8, 40)]
    with pinned_to(bench.cores.client):
        readings, _ = await measure_all(targets, loads, _WINDOW_S)
    return readings


def by_formula(records: Sequence[Record], curve: EngineCurve, in_flight: int) -> float:
    """Conversations an hour of one engine a side."""
    loads = measured_loads(records, dict.fromkeys(("user", "assistant"), curve.block_tokens))
    sides = {role: Side(curve, load, 1) for role, load in loads.items()}
    return SECONDS_PER_HOUR * throughput(sides, max_in_flight=in_flight).conversations_per_s


def workload_of(records: Sequence[Record]) -> Workload:
    """A dataset's utterances; its first prompt is the head of all, what stands around utterances is their mean."""
    said = [[num_output_tokens(turn) for turn in record["turns"]] for record in records]
    prompts = [[int(turn["num_prompt_tokens"]) for turn in record["turns"]] for record in records]
    opening = round(float(np.mean([of_one[0] for of_one in prompts])))
    around = [
        (of_prompts[-1] - opening - sum(of_said[:-1])) / (len(of_said) - 1)
        for of_prompts, of_said in zip(prompts, said, strict=True)
        if len(of_said) > 1
    ]
    first = np.concatenate([[0], np.cumsum([len(one) for one in said])]).astype(np.int64)
    tokens = np.array([tokens for one in said for tokens in one], np.int32)
    return Workload(first, tokens, opening, round(float(np.mean(around))))


def middle_rate(polled: Sequence[tuple[float, int]], total: int) -> float:
    """Utterances a second between two shares of all of them."""
    low, high = (share * total for share in _MIDDLE)
    inside = [(at, count) for at, count in polled if low <= count <= high]
    if len(inside) < 2:
        raise PlatoLMError("the run was over too soon to be measured: give it more --conversations")
    (began, first), (ended, last) = inside[0], inside[-1]
    return (last - first) / (ended - began)


def _setup(curve: EngineCurve, in_flight: int) -> Setup:
    return Setup([curve], [curve], Policy.LEAST_RESERVED, in_flight)


def _spread(ratios: Sequence[float]) -> dict[str, Detail]:
    return {"lowest ratio": min(ratios), "highest ratio": max(ratios)}


def _busy_cpu() -> float:
    """Processor seconds that anything on the machine has used."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _tree_cpu(process: psutil.Process) -> float:
    """Processor seconds of this process and all below it."""
    total = 0.0
    for one in (process, *process.children(recursive=True)):
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


if __name__ == "__main__":
    typer.run(main)
