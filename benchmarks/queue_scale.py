"""What a million conversations cost: to submit, to hold, to work through; and what a second worker adds.

*Submission*: 1,000,000 conversations from 100,000 seeds in one request; the time until the run is accepted.

*Throughput*: conversations of one utterance (a question, its answer) before an engine that answers at once, so that as
little as possible happens besides claiming, appending, finishing, feeding and writing. All of a million would take
most of an hour, so windows of a fixed time inside that run are measured: first ones where it begins, then others when
`--far` conversations lie behind it. In between the run is paused and the same worker is given runs of 1,000, the next
before the last one ends, so that it always has work. Neighbouring windows make a pair, which takes out what the
machine does meanwhile; the figure is the median ratio, the lower one of the two places.

*Memory*: the most that Redis has held from the beginning to the end of all that.

*Workers*: before an engine that takes its time, with so few slots a worker that these, and not the processor, are the
limit: answers/s of two workers ÷ answers/s of one.

    python -m benchmarks.queue_scale [--conversations 1000000] [--seeds 100000] [--far 30000] [--json FILE]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from benchmarks.loaded_stack import LoadedStack, Window, cpu_seconds, loaded_stack, pid_of, questions
from benchmarks.results import JsonFile, Result, measured, report
from tests.fakes.load_engine import Load

NAME = "queue_scale"
SUBMIT_CEILING_S = 20.0
MEMORY_CEILING_MB = 200.0
SCALE_FLOOR = 0.95
WORKERS_FLOOR = 1.8

MB = 10**6
SMALL = 1000
SMALL_SEEDS = 100
SMALL_AT_A_TIME = 3
SLOTS = 256
WARM_UP_ANSWERS = 3000
FAR_TIMEOUT_S = 3600.0

FEW_SLOTS = 16
SLOW_S = 0.2
SLOW_TURNS = 12


@dataclass(frozen=True)
class Pair:
    """Two neighbouring windows: inside the huge run, and of small runs."""

    huge: Window
    small: Window

    @property
    def ratio(self) -> float:
        return self.huge.utterances_per_s / self.small.utterances_per_s

    @property
    def processor_ratio(self) -> float:
        """Answers for the same processor time of worker, Redis and writer: what else runs here hardly touches it."""
        huge, small = (
            window.utterances_per_s / window.cores("worker", "redis", "writer") for window in (self.huge, self.small)
        )
        return huge / small


@dataclass
class SmallRuns:
    """Keeps a few runs of `SMALL` conversations under way: one that ends is followed by another."""

    stack: LoadedStack
    running: list[str] = field(default_factory=list)

    def refill(self) -> None:
        self.running = [run_id for run_id in self.running if not self._is_worked_through(run_id)]
        while len(self.running) < SMALL_AT_A_TIME:
            self.running.append(self.stack.submit(one_utterance_each(SMALL, SMALL_SEEDS)))

    def cancel(self) -> None:
        for run_id in self.running:
            self.stack.command(run_id, "cancel")
        self.running = []

    def _is_worked_through(self, run_id: str) -> bool:
        return bool(self.stack.progress(run_id)["finished"] >= SMALL)


def main(
    conversations: Annotated[int, typer.Option(min=1)] = 1_000_000,
    seeds: Annotated[int, typer.Option(min=1)] = 100_000,
    far: Annotated[int, typer.Option(min=0, help="Conversations behind the run at its later windows.")] = 30_000,
    seconds: Annotated[float, typer.Option(min=1, help="Of a window.")] = 10.0,
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of windows at each place.")] = 3,
    json: JsonFile = None,
) -> None:
    """Measure submission, Redis's memory, throughput beside small runs, and two workers against one."""
    results = [*million(conversations, seeds, far, seconds, pairs), two_workers(seconds, pairs)]
    report(results, json)


def million(conversations: int, seeds: int, far: int, seconds: float, pairs: int) -> list[Result]:
    """Submission, throughput and memory of one huge run."""
    with loaded_stack(Load(), max_in_flight=SLOTS) as stack:
        body = one_utterance_each(conversations, seeds)
        started, cpu_before = time.monotonic(), cpu_seconds(pid_of(stack.api))
        run_id = stack.submit(body)
        submit_s, submit_cpu_s = time.monotonic() - started, cpu_seconds(pid_of(stack.api)) - cpu_before
        places = {"at its beginning": 0, f"after {far:,}": far}
        windows = {place: pairs_from(stack, run_id, begin, seconds, pairs) for place, begin in places.items()}
        stack.check(run_id)
        worked_through = stack.progress(run_id)["finished"]
        peak_mb = stack.redis_peak_bytes() / MB
    return [
        measured(
            NAME,
            f"submitting {conversations:,} conversations with {seeds:,} seeds",
            submit_s,
            "s",
            floor=SUBMIT_CEILING_S,
            higher_is_better=False,
            details={"the API's processor time, s": submit_cpu_s},
        ),
        measured(
            NAME,
            "Redis's memory throughout",
            peak_mb,
            "MB",
            floor=MEMORY_CEILING_MB,
            higher_is_better=False,
            details={"conversations worked through": worked_through},
        ),
        throughput_result(conversations, windows),
    ]


def pairs_from(stack: LoadedStack, run_id: str, begin: int, seconds: float, pairs: int) -> list[Pair]:
    """Windows of the huge run and of small ones, in turn, from its conversation `begin` on."""
    stack.wait(
        lambda: bool(stack.progress(run_id)["finished"] >= begin),
        what=f"{begin} conversations worked through",
        timeout_s=FAR_TIMEOUT_S,
    )
    return [Pair(huge_window(stack, run_id, seconds), small_window(stack, run_id, seconds)) for _ in range(pairs)]


def huge_window(stack: LoadedStack, run_id: str, seconds: float) -> Window:
    def ask() -> None:
        """As often as for the small runs, so that both windows bear the same number of requests."""
        for _ in range(SMALL_AT_A_TIME):
            stack.progress(run_id)

    stack.wait_answered(WARM_UP_ANSWERS)
    return stack.window(seconds, ask)


def small_window(stack: LoadedStack, huge_run_id: str, seconds: float) -> Window:
    """Runs of `SMALL`, one after the other, while the huge one is paused."""
    stack.command(huge_run_id, "pause")
    small = SmallRuns(stack)
    goal = stack.engine.snapshot().answered + WARM_UP_ANSWERS
    while stack.engine.snapshot().answered < goal:
        small.refill()
    window = stack.window(seconds, small.refill)
    small.cancel()
    stack.command(huge_run_id, "resume")
    return window


def throughput_result(conversations: int, windows: Mapping[str, Sequence[Pair]]) -> Result:
    """The lower of the places' median ratios, all else beside it."""
    ratios = {place: statistics.median(pair.ratio for pair in pairs) for place, pairs in windows.items()}
    details: dict[str, float] = {}
    for place, pairs in windows.items():
        details |= {
            f"{place}: ratio": ratios[place],
            f"{place}: ratio for the same processor time": statistics.median(pair.processor_ratio for pair in pairs),
            f"{place}: at {conversations:,}, 1/s": statistics.median(pair.huge.utterances_per_s for pair in pairs),
            f"{place}: at {SMALL:,}, 1/s": statistics.median(pair.small.utterances_per_s for pair in pairs),
        }
    name = f"throughput at {conversations:,} ÷ at {SMALL:,}"
    return measured(NAME, name, min(ratios.values()), floor=SCALE_FLOOR, details=details)


def two_workers(seconds: float, pairs: int) -> Result:
    """Answers/s of two workers ÷ of one, both short of slots."""
    rates: list[tuple[float, float]] = []
    with loaded_stack(Load(latency_s=SLOW_S), max_in_flight=FEW_SLOTS) as stack:
        run_id = stack.submit({"spec": {"conversations": 1_000_000, "endings": {"max_turns": SLOW_TURNS}}})
        for _ in range(pairs):
            stack.wait_answered(SLOW_TURNS * FEW_SLOTS)
            one = stack.window(seconds)
            stack.add_worker()
            stack.wait_answered(SLOW_TURNS * FEW_SLOTS)
            two = stack.window(seconds)
            stack.end_worker()
            rates.append((one.utterances_per_s, two.utterances_per_s))
        stack.check(run_id)
    return measured(
        NAME,
        "two workers ÷ one",
        statistics.median(two / one for one, two in rates),
        floor=WORKERS_FLOOR,
        details={
            "one, 1/s": statistics.median(one for one, _ in rates),
            "two, 1/s": statistics.median(two for _, two in rates),
            "slots of each": FEW_SLOTS,
            "seconds of an utterance": SLOW_S,
        },
    )


def one_utterance_each(conversations: int, seeds: int) -> dict[str, Any]:
    """A run in which each conversation is a question and its answer."""
    spec = {"conversations": conversations, "seed_mode": "question", "endings": {"max_turns": 2}}
    return {"spec": spec, "seeds": questions(min(seeds, conversations))}


if __name__ == "__main__":
    typer.run(main)
