"""Conversations an hour and GPU of the whole loop: two models, the real orchestrator, conversations until they end.

    python -m benchmarks.loop_gpu --device cuda --simulator SOCRATIC_7B --respondent PLATOLM_7B --price 2.50
    python -m benchmarks.loop_gpu --simulator-urls http://gpu-1:8000/v1 --respondent-urls http://gpu-2:8000/v1 \\
        --simulator SOCRATIC_7B --respondent PLATOLM_7B --num-gpus 2 --price 2.50
    python -m benchmarks.loop_gpu                            the demo pair without a GPU: only that it runs

The first starts both engines on the first GPU, half of its memory each; the second asks engines that run (the models
are named for their tokenizers). Conversations are opened by the simulator and end as in any run: by the context, a
goodbye, repetition. The figure is all conversations ÷ the time from submission to the end of the last one, start and
tail included; beside it stands the rate between the tenth and the ninetieth hundredth of them to end. Tokens are the
dataset's; `made, tokens/s` and `preemptions` are the engines' own counters, which count what was made again too.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import httpx
import typer

from benchmarks.cores import share_cores
from benchmarks.counters import Counters, read_counters, total
from benchmarks.engines import (
    ROLES,
    Device,
    DeviceOption,
    KvCacheOption,
    RespondentOption,
    Served,
    SimulatorOption,
    running_engines,
    served,
    urls_by_role,
)
from benchmarks.full_stack import StackRun, complete, orchestrator
from benchmarks.recorded import num_output_tokens
from benchmarks.results import Detail, JsonFile, Result, measured, report, this_machine
from platolm.cli.console import message_console, print_error
from platolm.conversation import ASSISTANT, USER
from platolm.dataset import Record
from platolm.errors import InputError, PlatoLMError
from platolm.sampling import Sampling
from platolm.spec import Endings, RunSpec, SideSpec

NAME = "loop_gpu"
SECONDS_AN_HOUR = 3600
PRICED = 1000
"""Conversations of which the price is told."""
_BEGUN, _NEARLY_DONE = 0.1, 0.9
_METRICS_TIMEOUT_S = 60


@dataclass(frozen=True)
class Tokens:
    """What a run's dataset holds: tokens of all prompts, of these in a prefix cache, and generated."""

    prompt: int
    cached: int
    generated: int

    @classmethod
    def of(cls, records: Sequence[Record]) -> Tokens:
        """Of every utterance; engines that do not tell of their cache count as none cached."""
        turns = [turn for record in records for turn in record["turns"]]
        return cls(
            sum(int(turn["num_prompt_tokens"]) for turn in turns),
            sum(int(turn.get("num_cached_tokens") or 0) for turn in turns),
            sum(num_output_tokens(turn) for turn in turns),
        )


@dataclass(frozen=True)
class Work:
    """What is asked of the loop, and what its GPUs cost."""

    conversations: int
    in_flight: int
    context_tokens: int
    max_tokens: int
    max_turns: int | None
    num_gpus: int
    price: float | None

    def spec(self) -> RunSpec:
        """Openings by the simulator; endings as in any run."""
        sampling = Sampling(max_tokens=self.max_tokens)
        return RunSpec(
            conversations=self.conversations,
            simulator=SideSpec(profile="socratic", sampling=sampling),
            respondent=SideSpec(profile="platolm", sampling=sampling),
            endings=Endings(context_tokens=self.context_tokens, max_turns=self.max_turns),
        )


def main(
    simulator: SimulatorOption = None,
    respondent: RespondentOption = None,
    device: DeviceOption = Device.CPU,
    simulator_urls: Annotated[str | None, typer.Option(help="Engines that run, with commas between.")] = None,
    respondent_urls: Annotated[str | None, typer.Option(help="Likewise; may be the same.")] = None,
    key_file: Annotated[Path | None, typer.Option(help="File with the key of these engines.")] = None,
    num_gpus: Annotated[
        int | None, typer.Option(min=0, help="GPUs of all engines together. Default: 1 with --device cuda, else 0.")
    ] = None,
    price: Annotated[float | None, typer.Option(min=0, help="Of a GPU-hour, for the cost.")] = None,
    conversations: Annotated[int, typer.Option(min=1)] = 2000,
    in_flight: Annotated[int, typer.Option(min=1, help="Conversations at a time.")] = 256,
    context_tokens: Annotated[int, typer.Option(min=16, help="Of a conversation.")] = 2048,
    max_tokens: Annotated[int, typer.Option(min=1, help="Of an utterance.")] = 512,
    max_turns: Annotated[int | None, typer.Option(min=2, help="Utterances; default: no limit.")] = None,
    kv_cache_gib: KvCacheOption = 1,
    json: JsonFile = None,
) -> None:
    """Measure conversations an hour and GPU of two models that talk to each other."""
    try:
        urls = given_urls(simulator_urls, respondent_urls)
        gpus = num_gpus if num_gpus is not None else int(device is Device.CUDA)
        work = Work(conversations, in_flight, context_tokens, max_tokens, max_turns, gpus, price)
        if urls is not None:
            if num_gpus is None:
                raise InputError("how many GPUs do these engines have? Name it with --num-gpus")
            tokenizers = {USER: simulator, ASSISTANT: respondent}
            run, counters = asyncio.run(before_running_engines(work, urls, tokenizers, key_of(key_file)))
            pair = f"{simulator or 'simulator'} and {respondent or 'respondent'}"
        else:
            what = served(simulator, respondent, device, kv_cache_gib=kv_cache_gib)
            run, counters = asyncio.run(before_own_engines(work, what))
            pair = pair_name(what)
    except PlatoLMError as error:
        sys.exit(print_error(error))
    report([result(work, run, counters, pair)], json)


def given_urls(simulators: str | None, respondents: str | None) -> dict[str, list[str]] | None:
    """Engines by role; None where they are to be started.

    Raises:
        InputError: one side's are missing.
    """
    if simulators is None and respondents is None:
        return None
    if simulators is None or respondents is None:
        raise InputError("name both sides' engines, --simulator-urls and --respondent-urls, or neither")
    return {USER: simulators.split(","), ASSISTANT: respondents.split(",")}


def key_of(file: Path | None) -> str | None:
    """The key that a file holds.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return file.read_text(encoding="utf-8").strip() if file is not None else None
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}") from error


def pair_name(what: Served) -> str:
    """The two models, and that they are the demo's where they are."""
    return " and ".join(Path(what.models[role]).name for role in ROLES)


async def before_own_engines(work: Work, what: Served) -> tuple[StackRun, Counters]:
    """A run on engines that are started for it."""
    cores = share_cores(sorted(os.sched_getaffinity(0)))
    with tempfile.TemporaryDirectory(prefix="loop-") as folder:
        message_console().print(f"starting the engines: {pair_name(what)}")
        async with running_engines(what, cores, Path(folder)) as engines:
            urls = urls_by_role(engines)
            return await _run(work, urls, Path(folder), {})


async def before_running_engines(
    work: Work, urls: Mapping[str, Sequence[str]], tokenizers: Mapping[str, str | None], key: str | None
) -> tuple[StackRun, Counters]:
    """A run on engines that are there; nothing of them is started, warmed up or stopped."""
    settings = {"simulator_tokenizer": tokenizers[USER], "respondent_tokenizer": tokenizers[ASSISTANT]}
    settings["engine_api_key"] = key
    with tempfile.TemporaryDirectory(prefix="loop-") as folder:
        given = {name: value for name, value in settings.items() if value is not None}
        return await _run(work, urls, Path(folder), given)


async def _run(
    work: Work, urls: Mapping[str, Sequence[str]], folder: Path, worker: Mapping[str, str]
) -> tuple[StackRun, Counters]:
    cores = share_cores(sorted(os.sched_getaffinity(0)))
    async with httpx.AsyncClient(trust_env=False, timeout=_METRICS_TIMEOUT_S) as client:
        before = await read_engines(client, urls)
        with orchestrator(folder, urls, work.in_flight, cores, **worker) as api:
            message_console().print(f"{work.conversations:,} conversations, {work.in_flight:,} at a time")
            run = await complete(api, work.spec())
        return run, await read_engines(client, urls) - before


async def read_engines(client: httpx.AsyncClient, urls: Mapping[str, Sequence[str]]) -> Counters:
    """The counters of all engines, each address once; one without vLLM's metrics (a router) counts nothing."""
    addresses = sorted({url.rstrip("/").removesuffix("/v1") for role in urls for url in urls[role]})
    answers = await asyncio.gather(*(client.get(f"{address}/metrics") for address in addresses))
    return total(read_counters(answer.text) for answer in answers if answer.status_code == httpx.codes.OK)


def result(work: Work, run: StackRun, counters: Counters, pair: str) -> Result:
    """The figure, and what belongs beside it."""
    tokens, number = Tokens.of(run.records), len(run.records)
    an_hour = number / run.seconds * SECONDS_AN_HOUR
    where = f"{work.num_gpus} GPU{'s' if work.num_gpus > 1 else ''}" if work.num_gpus else "no GPU"
    details: dict[str, Detail] = {
        "conversations": number,
        "in flight": work.in_flight,
        "GPUs": ", ".join(this_machine().gpus) or "none here",
        "the middle four fifths, an hour": middle_rate(run.records) * SECONDS_AN_HOUR,
        "utterances of a conversation": sum(len(record["turns"]) for record in run.records) / number,
        "prompt tokens of a conversation": tokens.prompt / number,
        "of these cached": tokens.cached / number,
        "share cached": tokens.cached / max(1, tokens.prompt),
        "generated tokens of a conversation": tokens.generated / number,
        "generated tokens/s": tokens.generated / run.seconds,
        "made, tokens/s": counters.generated_tokens / run.seconds,
        "preemptions": counters.preemptions,
        "wall, s": run.seconds,
    }
    if work.price is not None and work.num_gpus:
        details["price of a GPU-hour"] = work.price
        details[f"cost of {PRICED:,} conversations"] = work.price * work.num_gpus * PRICED / an_hour
    per = "conversations/h/GPU" if work.num_gpus else "conversations/h"
    return measured(NAME, f"{pair}, {where}", an_hour / max(1, work.num_gpus), per, details=details)


def middle_rate(records: Sequence[Record]) -> float:
    """Conversations a second while neither the start nor the tail slows it; 0 where there are too few to tell."""
    ends = sorted(float(record["finished_at"]) for record in records)
    first, last = int(_BEGUN * (len(ends) - 1)), int(_NEARLY_DONE * (len(ends) - 1))
    seconds = ends[last] - ends[first]
    return (last - first) / seconds if seconds > 0 else 0.0


if __name__ == "__main__":
    typer.run(main)
