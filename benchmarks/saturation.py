"""How much of the engines a run uses: its generated tokens/s against those of a bare client on the same requests.

A pair is a run through API, writer, Redis and worker, and then a replay of that run's own requests: the same ids, the
recorded lengths forced, the same order of conversations and as many at a time, each one's requests one by one, the same
sampling seeds. Both begin with engines that were just started, so no prefix is cached. Pairs are measured in turn and
the median of their ratios counts. A run's time goes from its submission to the end of its last conversation.

vLLM's own load generator is reported beside it: both engines at once, random prompts and forced outputs of the run's
mean lengths (from half to one and a half of each), the share of the prompts that the run found in the cache shared.

Conversations end by their number of turns alone, so that the dataset holds every request: "requests recorded" is the
share of the engines' prompt tokens that it accounts for, "tokens replayed" the replay's share of the generated tokens.

    python -m benchmarks.saturation [--pairs 5] [--conversations 320] [--in-flight 64] [--json FILE]
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
import uvloop
from rich.table import Table

from benchmarks.cores import share_cores
from benchmarks.engines import (
    Device,
    DeviceOption,
    Engine,
    KvCacheOption,
    RespondentOption,
    SimulatorOption,
    served,
)
from benchmarks.full_stack import Shape
from benchmarks.load_generator import Generated, generate_load, hit_share, load_like
from benchmarks.pairs import Bench, Figures, by_a_bare_client, covered, through_the_stack
from benchmarks.results import Detail, JsonFile, measured, report
from benchmarks.setting import setting, shape_details
from platolm.cli.console import message_console, output_console, print_error
from platolm.dataset import Record
from platolm.errors import PlatoLMError

NAME = "saturation"
FLOOR = 0.95


@dataclass(frozen=True)
class Pair:
    """A run and its replay."""

    run: Figures
    replay: Figures
    committed_s: float
    covered: float

    @property
    def ratio(self) -> float:
        return self.run.tokens_per_s / self.replay.tokens_per_s

    @property
    def replayed(self) -> float:
        """Share of the run's generated tokens that the replay generated."""
        return self.replay.counters.generated_tokens / self.run.counters.generated_tokens


def main(
    pairs: Annotated[int, typer.Option(min=1, help="Runs, each with a replay of it.")] = 5,
    conversations: Annotated[int, typer.Option(min=1, help="Of each run.")] = 320,
    in_flight: Annotated[int, typer.Option(min=1, help="Conversations at a time.")] = 64,
    max_turns: Annotated[int, typer.Option(min=2, help="Utterances of a conversation.")] = 6,
    max_tokens: Annotated[int, typer.Option(min=1, help="New tokens that an utterance may take.")] = 128,
    context_tokens: Annotated[int, typer.Option(min=16, help="Tokens that a conversation reserves.")] = 1024,
    load_generator: Annotated[bool, typer.Option(help="Whether vLLM's own is measured too.")] = True,
    device: DeviceOption = Device.CPU,
    simulator: SimulatorOption = None,
    respondent: RespondentOption = None,
    kv_cache_gib: KvCacheOption = 1,
    json: JsonFile = None,
) -> None:
    """Measure a run's generated tokens/s against a bare client's."""
    try:
        with tempfile.TemporaryDirectory() as folder:
            bench = Bench(
                served(simulator, respondent, device, kv_cache_gib=kv_cache_gib),
                share_cores(sorted(os.sched_getaffinity(0))),
                Shape(conversations, max_turns, max_tokens, context_tokens),
                in_flight,
                Path(folder),
            )
            results, generated = uvloop.run(measure(bench, pairs, load_generator=load_generator))
    except PlatoLMError as error:
        sys.exit(print_error(error))
    show(results)
    details = summary(results, generated) | shape_details(bench) | {"cores": str(bench.cores)}
    output_console().print(setting(bench), soft_wrap=True)
    figure = median(pair.ratio for pair in results)
    report([measured(NAME, "run against bare client", figure, floor=FLOOR, details=details)], json)


async def measure(bench: Bench, num_pairs: int, *, load_generator: bool) -> tuple[list[Pair], Generated | None]:
    """All pairs in turn, then the load generator on the last replay's engines."""
    pairs: list[Pair] = []
    generated: list[Generated] = []
    for number in range(1, num_pairs + 1):
        run, records, committed_s = await through_the_stack(bench, f"run-{number}")

        async def load(engines: list[Engine], records: list[Record], run: Figures = run) -> None:
            generated.append(await load_as_run(bench, engines, records, run))

        is_last = number == num_pairs and load_generator
        replay = await by_a_bare_client(bench, f"replay-{number}", records, load if is_last else None)
        pairs.append(Pair(run, replay, committed_s, covered(records, run.counters)))
        message_console().print(f"pair {number} of {num_pairs}: ratio {pairs[-1].ratio:.3f}")
    return pairs, generated[0] if generated else None


async def load_as_run(bench: Bench, engines: list[Engine], records: list[Record], run: Figures) -> Generated:
    """vLLM's generator, each engine with half of the run's conversations in flight."""
    loads = {engine.role: load_like(records, engine.role, hit_share(run.counters)) for engine in engines}
    return await generate_load(engines, loads, bench.served.models, max(1, bench.in_flight // 2), bench.folder)


def show(pairs: list[Pair]) -> None:
    """A row for each pair."""
    table = Table("pair", "run, tokens/s", "bare client, tokens/s", "ratio", "cache hits, run", "cache hits, client")
    for number, pair in enumerate(pairs, 1):
        table.add_row(
            str(number),
            f"{pair.run.tokens_per_s:,.0f}",
            f"{pair.replay.tokens_per_s:,.0f}",
            f"{pair.ratio:.3f}",
            f"{hit_share(pair.run.counters):.1%}",
            f"{hit_share(pair.replay.counters):.1%}",
        )
    output_console().print(table)


def summary(pairs: list[Pair], generated: Generated | None) -> dict[str, Detail]:
    """What stands beside the ratio; medians over the pairs."""
    run, client = (median(figures) for figures in _speeds(pairs))
    details: dict[str, Detail] = {
        "pairs": len(pairs),
        "lowest ratio": min(pair.ratio for pair in pairs),
        "highest ratio": max(pair.ratio for pair in pairs),
        "run, tokens/s": run,
        "bare client, tokens/s": client,
        "generated tokens a run": median(pair.run.counters.generated_tokens for pair in pairs),
        "run, s": median(pair.run.seconds for pair in pairs),
        "run until all is in the dataset, s": median(pair.committed_s for pair in pairs),
        "requests recorded": min(pair.covered for pair in pairs),
        "tokens replayed": min(pair.replayed for pair in pairs),
        "preemptions": sum(pair.run.counters.preemptions for pair in pairs),
    }
    if generated is not None:
        details["vLLM's load generator, tokens/s"] = generated.tokens_per_s
    return details


def _speeds(pairs: list[Pair]) -> tuple[list[float], list[float]]:
    return [pair.run.tokens_per_s for pair in pairs], [pair.replay.tokens_per_s for pair in pairs]


if __name__ == "__main__":
    typer.run(main)
