"""How fast `platolm stats` counts conversations of ShareGPT's size, and the memory that a million of them takes.

The conversations are made up, of ShareGPT's length: 5.85 rounds on average, user turns of 70 words and assistant turns
of 240, log-normal in length (1,844 words and 9.3 kB a conversation), and as many. Without embeddings, as JSON lines.

*Speed*: all cores, against one plain pass in a single process that reads each line, parses it and counts words, and
against the same statistics in one process; taken in turn, the median of three. *Memory*: of all processes together, at
100,000 and at 1,000,000 small conversations (two rounds, about 250 bytes).

    python -m benchmarks.stats [--conversations 90000] [--small 1000000] [--json FILE]
"""

from __future__ import annotations

import json as json_module
import random
import statistics as numbers
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import psutil
import typer

from benchmarks.results import Detail, JsonFile, Result, measured, report

NAME = "stats"
SPEED_FLOOR = 5000.0
MB = 10**6
ROUNDS = 5.85
WORDS = {"human": 70, "gpt": 240}
DISTINCT = 2000
"""Conversations that are made anew; the rest are these with another opening."""

REPEATS = 3
SMALL_SHARE = 10
POLL_S = 0.02

MEASURED = """
import sys
from pathlib import Path
from curation.stats.measuring import StatsSettings, statistics_of
processes = int(sys.argv[2]) or None
if __name__ == "__main__":
    found = statistics_of([Path(sys.argv[1])], StatsSettings(processes=processes))
    print(found.model_dump_json(exclude={"paths", "name"}))
"""


def main(
    conversations: Annotated[int, typer.Option(min=1000, help="Of ShareGPT's size.")] = 90_000,
    small: Annotated[int, typer.Option(min=1000, help="Small ones, for the memory.")] = 1_000_000,
    json: JsonFile = None,
) -> None:
    """Measure speed and memory."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        report([speed(folder, conversations), memory(folder, small)], json)


def speed(folder: Path, conversations: int) -> Result:
    """Conversations/s of the whole command's work, the starting of its processes included."""
    path = folder / "sharegpt.jsonl"
    num_words = write_lines(path, sharegpt_like(conversations))
    seconds: dict[str, list[float]] = {"all cores": [], "one process": [], "plain pass": []}
    outputs = set()
    for _ in range(REPEATS):
        for processes, name in ((0, "all cores"), (1, "one process")):
            taken, output = timed(partial(statistics_by, path, processes))
            seconds[name].append(taken)
            outputs.add(output)
        taken, found = timed(partial(plain_pass, path))
        assert found == num_words
        seconds["plain pass"].append(taken)
    assert len(outputs) == 1, "the figures depend on the number of processes"
    rates = {name: conversations / numbers.median(taken) for name, taken in seconds.items()}
    details: dict[str, Detail] = {
        "conversations": conversations,
        "words of a conversation": num_words / conversations,
        "bytes of a conversation": path.stat().st_size / conversations,
        "against a plain pass in one process": rates["all cores"] / rates["plain pass"],
        "plain pass, conversations/s": rates["plain pass"],
        "against the same in one process": rates["all cores"] / rates["one process"],
    }
    path.unlink()
    return measured(
        NAME, "statistics without embeddings", rates["all cores"], "conversations/s", floor=SPEED_FLOOR, details=details
    )


def memory(folder: Path, small: int) -> Result:
    """Most memory of all processes together, of the larger dataset over that of the smaller."""
    peaks = []
    for count in (small // SMALL_SHARE, small):
        path = folder / f"{count}.jsonl"
        write_lines(path, small_ones(count))
        peaks.append(peak_bytes(path) / MB)
        path.unlink()
    details: dict[str, Detail] = {
        f"{small // SMALL_SHARE:,} conversations, MB": peaks[0],
        f"{small:,} conversations, MB": peaks[1],
    }
    name = f"memory at {SMALL_SHARE} times the conversations"
    return measured(NAME, name, peaks[1] / peaks[0], floor=1.2, higher_is_better=False, details=details)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    found = work()
    return time.perf_counter() - began, found


def statistics_by(path: Path, processes: int) -> str:
    """The statistics as JSON, by a process of its own and those that it starts; 0: one a core."""
    command = [sys.executable, "-c", MEASURED, str(path), str(processes)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def plain_pass(path: Path) -> int:
    """Words of all turns: what a short script does that measures nothing else."""
    num_words = 0
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            for turn in json_module.loads(line)["conversations"]:
                num_words += len(turn["value"].split())
    return num_words


def peak_bytes(path: Path) -> int:
    """The most that the processes took together, their own pages only, looked at every 20 ms."""
    command = [sys.executable, "-c", MEASURED, str(path), "0"]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as running:
        watching = Watch(psutil.Process(running.pid))
        code = running.wait()
        peak = watching.end()
    assert code == 0
    return peak


class Watch:
    """The memory of a process and its children, from now until `end`."""

    def __init__(self, process: psutil.Process) -> None:
        self._process = process
        self._peak = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def end(self) -> int:
        self._ended.set()
        self._thread.join()
        return self._peak

    def _look(self) -> None:
        while not self._ended.wait(POLL_S):
            try:
                all_of_them = [self._process, *self._process.children(recursive=True)]
                self._peak = max(self._peak, sum(one.memory_full_info().uss for one in all_of_them))
            except psutil.Error:  # one of them has just ended
                continue


def write_lines(path: Path, records: Iterator[tuple[str, int]]) -> int:
    """Write JSON lines; gives the number of words in them."""
    num_words = 0
    with path.open("w", encoding="utf-8") as lines:
        for line, words in records:
            lines.write(line)
            num_words += words
    return num_words


def sharegpt_like(count: int) -> Iterator[tuple[str, int]]:
    """JSON lines with their numbers of words."""
    rng = random.Random(0)
    made = [conversation(rng) for _ in range(min(count, DISTINCT))]
    for number in range(count):
        first, *rest = made[number % len(made)]
        said = [{**first, "value": f"{first['value']} {number}"}, *rest]
        words = sum(len(turn["value"].split()) for turn in said)
        yield json_module.dumps({"id": f"c{number}", "conversations": said}) + "\n", words


def conversation(rng: random.Random) -> list[dict[str, str]]:
    """One of ShareGPT's length."""
    num_rounds = max(1, round(rng.expovariate(1 / ROUNDS)))
    return [{"from": name, "value": text(rng, mean)} for _ in range(num_rounds) for name, mean in WORDS.items()]


def text(rng: random.Random, mean_words: int) -> str:
    """Log-normal in length, its words Zipf-like, a sentence about every twelve words."""
    num_words = max(1, round(rng.lognormvariate(0, 1) * mean_words / 1.65))  # e^½, the distribution's mean
    ranks = (int(20 * rng.paretovariate(0.9) - 20) % 20_000 for _ in range(num_words))
    return " ".join(word(rank) + ("." if rng.random() < 1 / 12 else "") for rank in ranks)


def word(rank: int) -> str:
    """The same made-up word for the same rank, longer for rarer ones."""
    syllables = ("ta", "re", "in", "so", "the", "con", "er", "li", "mo", "an", "de", "st", "ing", "u")
    spelled = syllables[rank % len(syllables)]
    while rank := rank // len(syllables):
        spelled += syllables[rank % len(syllables)]
    return spelled


def small_ones(count: int) -> Iterator[tuple[str, int]]:
    """Two rounds each, all different."""
    for number in range(count):
        contents = (f"How do I repot plant {number}?", "With care.", "And then?", f"Water it, {number % 7} times.")
        said = [{"from": name, "value": one} for name, one in zip(("human", "gpt") * 2, contents, strict=True)]
        yield json_module.dumps({"id": f"s{number}", "conversations": said}) + "\n", 14


if __name__ == "__main__":
    typer.run(main)
