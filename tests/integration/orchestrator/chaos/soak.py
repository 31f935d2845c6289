"""The chaos test at any length: run after run, each with a seed of its own, until the time is over or one fails.

    python -m tests.integration.orchestrator.chaos.soak [--conversations 5000] [--kills 120] [--seconds 1800]

A seed that is printed gives the same plan of kills again; when exactly they hit is up to the machine.
"""

from __future__ import annotations

import random
import shutil
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from services.orchestrator.crash_points import CRASH_POINTS
from tests.fakes.tokenizer import save_byte_tokenizer
from tests.integration.orchestrator.chaos.checks import check
from tests.integration.orchestrator.chaos.run import Options, expected_of, run_chaos

SECONDS_A_KILL, SECONDS_BESIDES = 15.0, 300.0


def main(
    conversations: Annotated[int, typer.Option(min=1, help="of each run; allow some 40 for each kill")] = 5000,
    kills: Annotated[int, typer.Option(min=len(CRASH_POINTS), help="SIGKILLs in each run")] = 120,
    seconds: Annotated[float, typer.Option(min=0, help="no run is begun after so many; at least one is")] = 1800.0,
    seed: Annotated[int | None, typer.Option(help="of the first run; default: a new one")] = None,
) -> None:
    """Kill everything but the engines, again and again, and hold each run against what it must be."""
    ends = time.monotonic() + seconds
    number = 0
    while number == 0 or time.monotonic() < ends:
        number += 1
        chosen = seed if seed is not None and number == 1 else random.SystemRandom().getrandbits(32)
        print(f"run {number}: seed {chosen}, {conversations} conversations, {kills} kills", flush=True)
        _one_run(Options(conversations, kills, chosen, timeout_s=SECONDS_BESIDES + SECONDS_A_KILL * kills))
    print(f"{number} runs: each conversation once, in order, with the content of an undisturbed run")


def _one_run(options: Options) -> None:
    """One run in a folder of its own, which stays where something is wrong."""
    folder = Path(tempfile.mkdtemp(prefix="platolm-soak-"))
    print(f"  logs: {folder}", flush=True)
    tokenizer_folder = save_byte_tokenizer(folder / "tokenizer")
    aftermath = run_chaos(folder, tokenizer_folder, options)
    findings = check(aftermath, expected_of(aftermath, tokenizer_folder))
    print(f"  {findings}; {aftermath.seconds:.0f} s", flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    typer.run(main)
