"""The study: every policy in every scenario, and a million conversations; what is there already is not run again.

    python -m simulation.study [--replicas 100] [--conversations 100000] [--many 1000000] [--again]

Each finished cell is written to simulation/results.json at once, so that a study that was stopped goes on there.
`python -m simulation.page` writes docs/simulation.md and its pictures from the file.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from pydantic import BaseModel, ConfigDict

from platolm.sizing.curves import DEMO_CURVE, EngineCurve, read_curve
from platolm.storage import write_atomically
from simulation.model import simulate
from simulation.placement import Policy
from simulation.scenarios import SCENARIOS, Scenario
from simulation.state import Floats, Ints
from simulation.workload import drawn

RESULTS = Path(__file__).parent / "results.json"
MANY_POLICIES = (Policy.LEAST_RESERVED, Policy.CONSISTENT_HASH)
MANY_SCENARIO = "mixed"


class Cell(BaseModel):
    """One policy in one scenario. `tail_s`: time at the end with less than 90 % and less than 50 % of engines busy."""

    model_config = ConfigDict(extra="forbid")

    scenario: str
    policy: str
    replicas: int
    conversations: int
    in_flight: int
    seconds: float
    conversations_per_h: float
    formula_per_h: float
    hit_share: float
    hits_of_attainable: float
    repeated_tokens: int
    moves: int
    tail_s: tuple[float, float]
    mean_wait_s: float
    wait_p99_s: float
    utterance_p50_s: float
    utterance_p99_s: float
    conversation_s: float
    processor_s: float
    bin_s: float
    tokens_per_s: list[float]
    busy_engines: list[float]

    @property
    def key(self) -> tuple[str, str, int, int]:
        return self.scenario, self.policy, self.replicas, self.conversations


class Study(BaseModel):
    """All cells of one curve."""

    model_config = ConfigDict(extra="forbid")

    curve: EngineCurve
    cells: list[Cell]

    def cell(self, scenario: str, policy: Policy, conversations: int | None = None) -> Cell:
        """One of them; of several sizes the smallest, where none is named."""
        found = [one for one in self.cells if one.scenario == scenario and one.policy == policy.name.lower()]
        found = [one for one in found if conversations in (None, one.conversations)]
        return min(found, key=lambda one: one.conversations)


def read_study(path: Path = RESULTS) -> Study:
    """What was written last."""
    return Study.model_validate_json(path.read_text(encoding="utf-8"))


def measured_cell(scenario: Scenario, policy: Policy, curve: EngineCurve, replicas: int, conversations: int) -> Cell:
    """Run one cell."""
    workload = drawn(scenario.lengths, conversations)
    setup = scenario.setup(curve, replicas, policy, workload)
    began = time.process_time()
    outcome = simulate(setup, workload)
    return Cell(
        scenario=scenario.name,
        policy=policy.name.lower(),
        replicas=replicas,
        conversations=conversations,
        in_flight=setup.max_in_flight,
        seconds=rounded(outcome.seconds),
        conversations_per_h=rounded(outcome.conversations_per_h),
        formula_per_h=rounded(3600 * scenario.formula(curve, replicas, workload)),
        hit_share=rounded(outcome.hit_share),
        hits_of_attainable=rounded(outcome.hits_of_attainable),
        repeated_tokens=outcome.repeated_tokens,
        moves=outcome.moves,
        tail_s=(rounded(outcome.tail_s[0]), rounded(outcome.tail_s[1])),
        mean_wait_s=rounded(outcome.mean_wait_s),
        wait_p99_s=rounded(outcome.waits[1]),
        utterance_p50_s=rounded(outcome.latencies[0]),
        utterance_p99_s=rounded(outcome.latencies[1]),
        conversation_s=rounded(outcome.mean_conversation_s),
        processor_s=rounded(time.process_time() - began),
        bin_s=rounded(setup.bin_s),
        tokens_per_s=_listed(outcome.tokens_by_time, setup.bin_s),
        busy_engines=_listed(outcome.busy_by_time),
    )


def rounded(value: float) -> float:
    """Four figures that count: the file is committed."""
    return float(f"{value:.4g}")


def main(
    replicas: Annotated[int, typer.Option(min=1, help="Of each side.")] = 100,
    conversations: Annotated[int, typer.Option(min=1, help="Of each cell.")] = 100_000,
    many: Annotated[int, typer.Option(min=1, help="Of the large run.")] = 1_000_000,
    curve: Annotated[str, typer.Option(help="Engines' curve: its name, or a file.")] = DEMO_CURVE,
    again: Annotated[bool, typer.Option("--again", help="Run what is there already, too.")] = False,
    out: Annotated[Path, typer.Option(help="The results.")] = RESULTS,
) -> None:
    """Run what is not there yet."""
    engine = read_curve(curve)
    study = read_study(out) if out.exists() and not again else Study(curve=engine, cells=[])
    if study.curve != engine:
        study = Study(curve=engine, cells=[])
    done = {cell.key for cell in study.cells}
    for scenario, policy, size in _wanted(conversations, many):
        if (scenario.name, policy.name.lower(), replicas, size) in done:
            continue
        cell = measured_cell(scenario, policy, engine, replicas, size)
        study.cells.append(cell)
        write_atomically(out, (study.model_dump_json(indent=1) + "\n").encode())
        print(f"{cell.scenario} {cell.policy} {size:,}: {cell.conversations_per_h:,.0f} an hour, {cell.processor_s} s")


def _wanted(conversations: int, many: int) -> Iterator[tuple[Scenario, Policy, int]]:
    for scenario in SCENARIOS:
        yield from ((scenario, policy, conversations) for policy in Policy)
    large = next(one for one in SCENARIOS if one.name == MANY_SCENARIO)
    yield from ((large, policy, many) for policy in MANY_POLICIES)


def _listed(values: Ints | Floats, per_s: float = 1.0) -> list[float]:
    """A series over time, in at most so many points as a picture shows."""
    series = np.asarray(values, np.float64) / per_s
    return [rounded(float(value)) for value in series[:250]]


if __name__ == "__main__":
    typer.run(main)
