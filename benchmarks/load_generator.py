"""vLLM's own load generator before both engines at once, with prompts and outputs of a run's lengths.

python -m benchmarks.load_generator …        `vllm bench serve`, which the CPU build has no command for
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from statistics import mean

from benchmarks.counters import Counters
from benchmarks.engines import Engine
from benchmarks.recorded import num_output_tokens
from platolm.dataset import Record
from platolm.errors import StackError
from platolm.stack.child import ChildProcess, Command

_RANGE_RATIO = 0.5


@dataclass(frozen=True)
class Load:
    """What one engine gets: requests, and their mean lengths in tokens; the shared part of a prompt is cached."""

    num_requests: int
    shared_tokens: int
    prompt_tokens: int
    output_tokens: int


@dataclass(frozen=True)
class Generated:
    """What both engines gave together, while both were under load."""

    generated_tokens: int
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return self.generated_tokens / self.seconds


def load_like(records: list[Record], role: str, hit_share: float) -> Load:
    """A side's requests in a run; `hit_share` of its prompt tokens came from the cache."""
    turns = [turn for record in records for turn in record["turns"] if turn["role"] == role]
    prompt = mean(turn["num_prompt_tokens"] for turn in turns)
    shared = round(prompt * hit_share)
    return Load(
        num_requests=len(turns),
        shared_tokens=shared,
        prompt_tokens=max(1, round(prompt) - shared),
        output_tokens=max(1, round(mean(map(num_output_tokens, turns)))),
    )


def hit_share(counters: Counters) -> float:
    """Share of the looked-up prompt tokens that the prefix cache held."""
    return counters.cache_hits / counters.cache_queries if counters.cache_queries else 0.0


async def generate_load(
    engines: list[Engine], loads: Mapping[str, Load], models: Mapping[str, str], concurrency: int, folder: Path
) -> Generated:
    """Load both engines at the same time, each with `concurrency` requests in flight.

    Raises:
        StackError: a generator failed.
    """
    ways = [(engine, folder / f"load-{engine.role}.json") for engine in engines]
    commands = [
        Command(
            _argv(engine, loads[engine.role], models[engine.role], concurrency, path), log_path=path.with_suffix(".log")
        )
        for engine, path in ways
    ]
    processes = [await ChildProcess.start(command) for command in commands]
    codes = await asyncio.gather(*(process.wait() for process in processes))
    for process, code in zip(processes, codes, strict=True):
        if code:
            log = process.command.log_path
            raise StackError(f"vLLM's load generator failed; its log is {log}", log_tail=process.log_tail())
    results = [json.loads(path.read_text(encoding="utf-8")) for _, path in ways]
    return Generated(sum(result["total_output_tokens"] for result in results), max(r["duration"] for r in results))


def _argv(engine: Engine, load: Load, model: str, concurrency: int, result: Path) -> list[str]:
    options = {
        "base-url": engine.root,
        "model": engine.model,
        "tokenizer": model,
        "dataset-name": "random",
        "random-prefix-len": load.shared_tokens,
        "random-input-len": load.prompt_tokens,
        "random-output-len": load.output_tokens,
        "random-range-ratio": _RANGE_RATIO,
        "num-prompts": load.num_requests,
        "max-concurrency": concurrency,
        "temperature": 0.7,
        "result-dir": result.parent,
        "result-filename": result.name,
    }
    flags = ["--ignore-eos", "--disable-tqdm", "--save-result"]
    named = [part for name, value in options.items() for part in (f"--{name}", str(value))]
    return [sys.executable, "-m", "benchmarks.load_generator", *named, *flags]


def main() -> None:
    """Run vLLM's generator with the arguments given."""
    serve = import_module("vllm.benchmarks.serve")  # heavy, and needed in this process alone
    parser = argparse.ArgumentParser()
    serve.add_cli_args(parser)
    asyncio.run(serve.main_async(parser.parse_args()))


if __name__ == "__main__":
    main()
