"""A run against the paper's way on the same pair of models and the same cores: generated tokens/s.

The paper's way (`benchmarks.blocking`) asks for one utterance at a time and waits for it. It is measured as one process
whose model has a thread for every core, and as one single-threaded process a core, all at once; the faster counts. On a
GPU it is one process. Ours is a run through API, writer, Redis, worker and two vLLM engines, as long a time as it takes
from its submission to the end of its last conversation. Both have the same sampling, lengths and number of turns, and
are warm. Beside it, the engines alone: a bare client that replays the run's requests, as many at a time.

    python -m benchmarks.paper_way [--conversations 512] [--in-flight 128] [--device cuda] [--json FILE]
"""

from __future__ import annotations

import json as jsonlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
import uvloop
from rich.table import Table

from benchmarks.cores import share_cores
from benchmarks.engines import (
    Device,
    DeviceOption,
    KvCacheOption,
    RespondentOption,
    SimulatorOption,
    served,
)
from benchmarks.full_stack import Shape
from benchmarks.pairs import Bench, Figures, by_a_bare_client, through_the_stack
from benchmarks.results import Detail, JsonFile, measured, report
from benchmarks.setting import setting, shape_details
from platolm.cli.console import output_console, print_error
from platolm.conversation import ASSISTANT, USER
from platolm.errors import PlatoLMError, StackError

NAME = "paper_way"
FLOOR = 5.0


@dataclass(frozen=True)
class Way:
    """One form of the paper's way: processes at once, threads of each."""

    processes: int
    threads: int

    def __str__(self) -> str:
        if self.processes == 1:
            return f"one process, {self.threads} thread{'s' if self.threads > 1 else ''}"
        return f"{self.processes} processes, {self.threads} thread each"


def main(
    conversations: Annotated[int, typer.Option(min=1, help="Of our run.")] = 512,
    in_flight: Annotated[int, typer.Option(min=1, help="Our conversations at a time.")] = 128,
    max_turns: Annotated[int, typer.Option(min=2, help="Utterances of a conversation.")] = 6,
    max_tokens: Annotated[int, typer.Option(min=1, help="New tokens that an utterance may take.")] = 128,
    context_tokens: Annotated[int, typer.Option(min=16, help="Tokens that a conversation reserves.")] = 1024,
    seconds: Annotated[float, typer.Option(min=1, help="For which the paper's way is measured, in each form.")] = 60,
    device: DeviceOption = Device.CPU,
    simulator: SimulatorOption = None,
    respondent: RespondentOption = None,
    kv_cache_gib: KvCacheOption = 2,
    json: JsonFile = None,
) -> None:
    """Measure a run's generated tokens/s against the paper's way."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(
                served(simulator, respondent, device, kv_cache_gib=kv_cache_gib),
                share_cores(sorted(os.sched_getaffinity(0))),
                Shape(conversations, max_turns, max_tokens, context_tokens),
                in_flight,
                Path(folder),
            )
            blocking = {way: blocking_tokens_per_s(bench, way, seconds) for way in ways(device)}
            run, client = uvloop.run(measure(bench))
    except PlatoLMError as error:
        sys.exit(print_error(error))
    show(blocking, run, client, in_flight)
    output_console().print(setting(bench), soft_wrap=True)
    figure = run.tokens_per_s / best_of(blocking)
    details = summary(blocking, run, client) | shape_details(bench)
    report([measured(NAME, "run against the paper's way", figure, floor=FLOOR, details=details)], json)


def ways(device: Device) -> list[Way]:
    """The forms to measure on this machine."""
    cores = len(os.sched_getaffinity(0))
    if device is Device.CUDA or cores == 1:
        return [Way(1, 1)]
    return [Way(1, cores), Way(cores, 1)]


def blocking_tokens_per_s(bench: Bench, way: Way, seconds: float) -> float:
    """Generated tokens/s of the paper's way, all its processes together, after each has made a dialogue.

    Raises:
        StackError: a process failed.
    """
    argv = _blocking_argv(bench, way, seconds)
    processes = [
        subprocess.Popen([*argv, "--seed", str(n)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for n in range(way.processes)
    ]
    try:
        for process in processes:
            _expect_warm(process)
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        answers = [jsonlib.loads(line_of(process)) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return float(sum(answer["generated_tokens"] / answer["seconds"] for answer in answers))


def best_of(blocking: Mapping[Way, float]) -> float:
    """Tokens/s of the faster form, which counts."""
    return max(blocking.values())


async def measure(bench: Bench) -> tuple[Figures, Figures]:
    """A run through the whole stack, and its replay on the engines alone."""
    run, records, _ = await through_the_stack(bench, "run")
    return run, await by_a_bare_client(bench, "replay", records)


def show(blocking: Mapping[Way, float], run: Figures, client: Figures, in_flight: int) -> None:
    """A row for each way of working, against the better form of the paper's."""
    best = best_of(blocking)
    rows = {f"the paper's way: {way}": speed for way, speed in blocking.items()} | {
        f"a run, {in_flight} in flight": run.tokens_per_s,
        f"engines alone, {in_flight} in flight": client.tokens_per_s,
    }
    table = Table("", "generated tokens/s", "ratio")
    for name, speed in rows.items():
        table.add_row(name, f"{speed:,.0f}", f"{speed / best:.2f}")
    output_console().print(table)


def summary(blocking: Mapping[Way, float], run: Figures, client: Figures) -> dict[str, Detail]:
    """What stands beside the ratio."""
    details: dict[str, Detail] = {f"{way}, tokens/s": speed for way, speed in blocking.items()}
    return details | {
        "run, tokens/s": run.tokens_per_s,
        "engines alone, tokens/s": client.tokens_per_s,
        "engines alone against the paper's way": client.tokens_per_s / best_of(blocking),
        "run, s": run.seconds,
        "transformers": version("transformers"),
    }


def _blocking_argv(bench: Bench, way: Way, seconds: float) -> list[str]:
    options = {
        "threads": way.threads,
        "seconds": seconds,
        "max-turns": bench.shape.max_turns,
        "max-tokens": bench.shape.max_tokens,
        "context-tokens": bench.shape.context_tokens,
        "device": bench.served.device,
    }
    named = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    models = [bench.served.models[role] for role in (USER, ASSISTANT)]
    return [sys.executable, "-m", "benchmarks.blocking", *models, *named]


def line_of(process: subprocess.Popen[str]) -> str:
    """The next line that a process says.

    Raises:
        StackError: it ended.
    """
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise StackError(f"a process of the paper's way ended with code {process.wait()}; see above")
    return line.strip()


def _expect_warm(process: subprocess.Popen[str]) -> None:
    while (line := line_of(process)) != "warm":
        sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    typer.run(main)
