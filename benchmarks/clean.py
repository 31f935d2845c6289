"""What it takes to clean a set of ShareGPT's size: 90,000 sessions in HTML, language and near duplicates included.

The sessions are made of real dialogues, of the folder that is named: several joined to ShareGPT's length, words
changed, answers rendered as the page renders them, one in ten nearly a repeat of an earlier one and one in twenty a
repeat (`benchmarks.copies`). The command is `platolm clean IN --out OUT --languages en`, its start included.

*Time*: wall clock. *Memory*: the most that all of its processes took together, pages that they share counted once
(PSS). *Linear*: time for each session of a set so many times larger, divided by the same of the first set.

    python -m benchmarks.clean FOLDER [--conversations 90000] [--times 4] [--json FILE]
"""

from __future__ import annotations

import json as json_module
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.copies import Copies, Kind, sources_of
from benchmarks.results import JsonFile, Result, measured, report
from curation.dialogue import Dialogue
from curation.reading import read_dialogues
from platolm.errors import InputError

NAME = "clean"
CONVERSATIONS = 90_000
TIME_CEILING_S = 180.0
MEMORY_CEILING_MB = 3000.0
LINEAR_CEILING = 1.15

MB = 10**6
SAMPLE_S = 0.1
COMMAND = "import typer; from curation.clean.cli import clean; typer.run(clean)"


@dataclass(frozen=True)
class Cleaning:
    """One run of the command. `kinds` is what was put in, `stages` what the report says."""

    conversations: int
    wall_s: float
    processor_s: float
    peak_mb: float
    input_mb: float
    kinds: Counter[Kind]
    stages: dict[str, dict[str, Any]]

    @property
    def ms_each(self) -> float:
        return self.wall_s / self.conversations * 1000


def main(
    folder: Annotated[Path, typer.Argument(help="Real dialogues, in any form that `platolm clean` reads.")],
    conversations: Annotated[int, typer.Option(min=1, help="In the first set.")] = CONVERSATIONS,
    times: Annotated[int, typer.Option(min=1, help="How much larger the second set is; 1: no second set.")] = 4,
    json: JsonFile = None,
) -> None:
    """Measure how long cleaning takes, how much memory, and whether it is linear."""
    first = measured_cleaning(folder, conversations)
    results = results_of(first)
    if times > 1:
        results.append(linear(first, measured_cleaning(folder, conversations * times)))
    report(results, json)


def results_of(cleaning: Cleaning) -> list[Result]:
    """Time and memory, beside what was in the set and what was found in it."""
    near = cleaning.stages["near_duplicates"]
    return [
        measured(
            NAME,
            f"{cleaning.conversations:,} conversations cleaned",
            cleaning.wall_s,
            "s",
            floor=TIME_CEILING_S,
            higher_is_better=False,
            details={
                "conversations/s": cleaning.conversations / cleaning.wall_s,
                "processor time, s": cleaning.processor_s,
                "input, MB": cleaning.input_mb,
                "turns of a conversation": cleaning.stages["parse"]["turns_in"] / cleaning.conversations,
                "exact duplicates put in": cleaning.kinds[Kind.EXACT],
                "dropped": sum(cleaning.stages["exact_duplicates"]["dropped"].values()),
                "near duplicates put in": cleaning.kinds[Kind.NEAR],
                "dropped as such": sum(near["dropped"].values()),
                "left at the end": near["conversations_out"],
            },
        ),
        measured(
            NAME,
            "memory of all its processes",
            cleaning.peak_mb,
            "MB",
            floor=MEMORY_CEILING_MB,
            higher_is_better=False,
            details={"processes that clean": len(os.sched_getaffinity(0))},
        ),
    ]


def linear(first: Cleaning, second: Cleaning) -> Result:
    """Whether a larger set takes as long for each conversation."""
    return measured(
        NAME,
        f"time a conversation at {second.conversations:,} ÷ at {first.conversations:,}",
        second.ms_each / first.ms_each,
        floor=LINEAR_CEILING,
        higher_is_better=False,
        details={
            "at the larger, ms": second.ms_each,
            "at the smaller, ms": first.ms_each,
            "memory at the larger, MB": second.peak_mb,
        },
    )


def measured_cleaning(folder: Path, conversations: int) -> Cleaning:
    """Make a set, clean it, and throw both away.

    Raises:
        InputError: the folder has no dialogues that can be used.
    """
    with tempfile.TemporaryDirectory() as name:
        source, out = Path(name, "in.json"), Path(name, "out.jsonl")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            kinds = pool.apply(make_set, (folder, source, conversations))
        before = sum(os.times()[2:4])
        began = time.perf_counter()
        peak = peak_of([sys.executable, "-c", COMMAND, str(source), "--out", str(out), "--languages", "en"])
        wall_s = time.perf_counter() - began
        stages = json_module.loads(out.with_suffix(".report.json").read_text(encoding="utf-8"))["stages"]
        return Cleaning(
            conversations,
            wall_s,
            sum(os.times()[2:4]) - before,
            peak / MB,
            source.stat().st_size / MB,
            kinds,
            {stage["name"]: stage for stage in stages},
        )


def make_set(folder: Path, path: Path, conversations: int) -> Counter[Kind]:
    """Write the sessions as one JSON list, as ShareGPT's files are."""
    dialogues = (one.messages for one in read_dialogues([folder]) if isinstance(one, Dialogue))
    sources = sources_of(dialogues)
    if not sources:
        raise InputError(f"{folder} has no dialogues of turns as long as ShareGPT's: name another folder")
    copies = Copies(sources)
    with path.open("w", encoding="utf-8") as file:
        for number in range(conversations):
            file.write(",\n" if number else "[\n")
            json_module.dump(copies.record(number), file, ensure_ascii=False)
        file.write("\n]\n")
    return Counter(copies.kind(number) for number in range(conversations))


def peak_of(command: list[str]) -> int:
    """Run a command; the most bytes that it and all of its processes took at a time.

    Raises:
        CalledProcessError: it failed.
    """
    peak = 0
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None:
            peak = max(peak, _bytes_of(psutil.Process(process.pid)))
            time.sleep(SAMPLE_S)
        said = process.stderr.read() if process.stderr else ""
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=said)
    return peak


def _bytes_of(process: psutil.Process) -> int:
    total = 0
    try:
        for one in [process, *process.children(recursive=True)]:
            total += one.memory_full_info().pss
    except psutil.Error:  # it ended while it was looked at
        return total
    return total


if __name__ == "__main__":
    typer.run(main)
