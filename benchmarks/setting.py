"""What a measurement before real engines was made with, in words."""

from __future__ import annotations

from pathlib import Path

from benchmarks.pairs import Bench
from benchmarks.results import Detail, installed_versions, this_machine


def setting(bench: Bench) -> str:
    """The machine, the versions, who had which cores, and what was served, a line each."""
    versions = ", ".join(f"{name} {version}" for name, version in installed_versions().items())
    models = ", ".join(Path(model).name for model in bench.served.models.values())
    return "\n".join([str(this_machine()), versions, f"{models} on {bench.served.device}; {bench.cores}"])


def shape_details(bench: Bench) -> dict[str, Detail]:
    """How much was asked for."""
    return {
        "conversations": bench.shape.conversations,
        "in flight": bench.in_flight,
        "utterances of each": bench.shape.max_turns,
    }
