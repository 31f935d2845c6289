"""Measures an engine's curve: what a step takes by batch, and what a request and a token of its prompt add.

Closed loops of requests with random prompts, which no prefix cache knows, and outputs of a forced length: for each
batch, short and long prompts, short and long utterances, each for some seconds. What the engine counts in between
gives, for b requests at a time, R of which generate G tokens in S steps and read P in W seconds,

    W = S · step(G/S) + G · context · context_token_s + R · request_s + P · prefill_token_s + R/b · latency_s

and non-negative least squares over all of them gives the numbers. An endpoint that is there already is named by --url;
else the demo pair's engines (or two models) are started, each on cores of its own, and measured at the same time, as in
a run; their seconds are of the processor time that they get, so that what else the machine does is left out, and the
orchestrator too. The largest relative error of the fit is written beside the curve.

    python -m benchmarks.engine_curve --out FILE [--url http://host:8000/v1 --model NAME] [--batches 1,8,32,64,128]
"""

from __future__ import annotations

import asyncio
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import aiohttp
import numpy as np
import typer
import uvloop
from rich.table import Table
from scipy.optimize import nnls

from benchmarks.cores import pinned_to, share_cores
from benchmarks.counters import CacheShape, Counters, read_cache_shape, read_counters
from benchmarks.engines import (
    Device,
    DeviceOption,
    Engine,
    KvCacheOption,
    RespondentOption,
    SimulatorOption,
    running_engines,
    served,
)
from benchmarks.results import installed_versions, this_machine
from platolm.cli.console import message_console, output_console, print_error
from platolm.errors import InputError, PlatoLMError
from platolm.sizing.curves import EngineCurve
from platolm.storage import write_atomically

_PROMPTS, _OUTPUTS = (16, 192), (8, 48)
_SETTLES_WITHIN_S = 300.0
_IDS = range(10, 250)  # of any tokenizer: control tokens lie below


@dataclass(frozen=True)
class Load:
    """A closed loop: `batch` requests at a time; `output` is the mean, from half to one and a half of it."""

    batch: int
    prompt: int
    output: int


@dataclass(frozen=True)
class Reading:
    """What an engine did under a load in some seconds."""

    load: Load
    seconds: float
    generated: float
    prefilled: float
    steps: float

    @property
    def requests(self) -> float:
        return self.prefilled / self.load.prompt

    @property
    def tokens_per_s(self) -> float:
        return self.generated / self.seconds


@dataclass(frozen=True)
class Target:
    """A served model; `url` ends in `/v1`."""

    url: str
    model: str
    clock: Callable[[], float] = time.monotonic

    @property
    def root(self) -> str:
        return self.url.removesuffix("/v1")


def target_of(engine: Engine) -> Target:
    """An engine of ours, timed by the processor time that it gets."""
    return Target(engine.url, engine.model, engine.processor_s)


@dataclass(frozen=True)
class Fit:
    """The numbers of a curve, and the largest relative error against the readings."""

    steps: tuple[tuple[int, float], ...]
    context_token_s: float
    prefill_token_s: float
    request_s: float
    latency_s: float
    error: float


def main(
    out: Annotated[Path, typer.Option(help="File to write the curve to.")],
    name: Annotated[str | None, typer.Option(help="Of the curve; default: the file's.")] = None,
    url: Annotated[str | None, typer.Option(help="A vLLM server's URL, ending in /v1; default: start two.")] = None,
    model: Annotated[str | None, typer.Option(help="Its name there; needed with --url.")] = None,
    hardware: Annotated[str | None, typer.Option(help="What a replica runs on; default: this machine.")] = None,
    gpus: Annotated[float | None, typer.Option(min=0, help="Of a replica; default: 0 on a CPU, else 1.")] = None,
    max_batch: Annotated[int, typer.Option(min=1, help="The engine's --max-num-seqs.")] = 256,
    batches: Annotated[str, typer.Option(help="Requests at a time, with commas.")] = "1,4,16,32,64,96,128",
    window: Annotated[float, typer.Option(min=0.5, help="Seconds of each measurement.")] = 6.0,
    device: DeviceOption = Device.CPU,
    simulator: SimulatorOption = None,
    respondent: RespondentOption = None,
    kv_cache_gib: KvCacheOption = 1,
) -> None:
    """Measure an engine's curve, and write it as `platolm size` reads it."""
    sizes = sorted({int(size) for size in batches.split(",")})
    loads = [Load(size, prompt, output) for size in sizes for prompt in _PROMPTS for output in _OUTPUTS]
    try:
        if url is not None:
            if model is None:
                raise InputError("--url needs --model, the model's name at that server")
            readings, cache = uvloop.run(measure_all([Target(url, model)], loads, window))
            where, on_cpu = hardware or "unnamed: give --hardware", gpus == 0
        else:
            what = served(simulator, respondent, device, kv_cache_gib=kv_cache_gib)
            cores = share_cores(sorted(os.sched_getaffinity(0)))

            async def start_and_measure() -> tuple[list[Reading], CacheShape]:
                with tempfile.TemporaryDirectory() as folder:
                    async with running_engines(what, cores, Path(folder)) as engines:
                        with pinned_to(cores.client):
                            return await measure_all([target_of(one) for one in engines], loads, window)

            readings, cache = uvloop.run(start_and_measure())
            model = " and ".join(Path(one).name for one in what.models.values())
            where, on_cpu = hardware or f"{this_machine()}: {cores}", device is Device.CPU
    except PlatoLMError as error:
        sys.exit(print_error(error))
    curve = curve_of(readings, cache, name=name or out.stem, model=model, hardware=where, max_batch=max_batch)
    curve = curve.model_copy(update={"gpus": gpus if gpus is not None else 0.0 if on_cpu else 1.0})
    show(readings, curve)
    write_atomically(out, (curve.model_dump_json(indent=2) + "\n").encode())


def curve_of(
    readings: Sequence[Reading], cache: CacheShape, *, name: str, model: str, hardware: str, max_batch: int
) -> EngineCurve:
    """The curve that explains the readings best."""
    fit = fitted(readings)
    versions = [f"{package} {number}" for package, number in installed_versions().items() if "vllm" in package]
    return EngineCurve(
        name=name,
        is_measured=True,
        source="python -m benchmarks.engine_curve",
        model=model,
        engine=", ".join(versions) or "vLLM",
        hardware=hardware,
        gpus=0,
        block_tokens=cache.block_tokens,
        kv_tokens=cache.num_tokens,
        max_batch=max_batch,
        steps=fit.steps,
        context_token_s=fit.context_token_s,
        prefill_token_s=fit.prefill_token_s,
        request_s=fit.request_s,
        latency_s=fit.latency_s,
        fit_error=round(fit.error, 4),
    )


async def measure_all(
    targets: Sequence[Target], loads: Sequence[Load], window_s: float
) -> tuple[list[Reading], CacheShape]:
    """Every load in turn, at all targets at the same time; the cache's shape is the first one's."""
    readings: list[Reading] = []
    timeout = aiohttp.ClientTimeout(total=600)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        cache = read_cache_shape(await _metrics(session, targets[0]))
        for number, load in enumerate(loads):
            got = await asyncio.gather(*(measure(session, one, load, window_s, number) for one in targets))
            readings += got
            speeds = ", ".join(f"{one.tokens_per_s:,.0f}" for one in got)
            message_console().print(f"{load}: {speeds} tokens/s", markup=False)
    return readings, cache


async def measure(session: aiohttp.ClientSession, target: Target, load: Load, window_s: float, seed: int) -> Reading:
    """Keep the loop going, and read what the engine counts over the window, from when every slot had an answer."""
    chance = random.Random(f"{seed}/{target.url}")
    begun = [asyncio.Event() for _ in range(load.batch)]
    slots = [asyncio.create_task(_slot(session, target, load, chance, event)) for event in begun]
    try:
        await asyncio.wait_for(_all_set(begun, slots), _SETTLES_WITHIN_S)
        before, began = await _counters(session, target)
        await asyncio.sleep(window_s)
        after, ended = await _counters(session, target)
    finally:
        for slot in slots:
            slot.cancel()
        for slot in slots:
            with suppress(asyncio.CancelledError):
                await slot
    counted = after - before
    prefilled = counted.prompt_tokens - counted.cache_hits
    return Reading(load, ended - began, counted.generated_tokens, prefilled, counted.steps)


def fitted(readings: Sequence[Reading]) -> Fit:
    """Non-negative least squares of the relative errors; the steps are made to rise with the batch."""
    sizes = sorted({one.load.batch for one in readings})
    rows = np.array(list(_rows(readings, sizes)))
    scales = np.array([one.seconds for one in readings])
    # Columns differ by orders of magnitude; each is brought to one.
    norms = np.linalg.norm(rows / scales[:, None], axis=0)
    norms[norms == 0] = 1.0
    found, _ = nnls(rows / scales[:, None] / norms, np.ones(len(readings)))
    found = found / norms
    errors = rows @ found / scales - 1
    steps = np.maximum.accumulate(found[: len(sizes)])
    context_token_s, request_s, prefill_token_s, latency_s = (float(value) for value in found[len(sizes) :])
    return Fit(
        tuple((size, float(seconds)) for size, seconds in zip(sizes, steps, strict=True)),
        context_token_s,
        prefill_token_s,
        request_s,
        latency_s,
        float(np.abs(errors).max()),
    )


def _rows(readings: Sequence[Reading], sizes: Sequence[int]) -> Iterator[list[float]]:
    """What each unknown is multiplied with: the steps by batch, then context, requests, prompt tokens, ways."""
    for one in readings:
        row = [0.0] * len(sizes)
        for place, share in _between(one.generated / one.steps, sizes):
            row[place] = one.steps * share
        # Over a request that generates N, the context is the prompt and half of N; longer ones weigh more.
        yield [
            *row,
            one.generated * (one.load.prompt + 0.54 * one.load.output),
            one.requests,
            one.prefilled,
            one.requests / one.load.batch,
        ]


def _between(batch: float, sizes: Sequence[int]) -> Iterator[tuple[int, float]]:
    """The places of the sizes around a batch, each with its share in a straight line between them."""
    above = min(int(np.searchsorted(sizes, batch)), len(sizes) - 1)
    if above == 0 or batch >= sizes[-1]:
        yield above, 1.0
        return
    share = (batch - sizes[above - 1]) / (sizes[above] - sizes[above - 1])
    yield from ((above - 1, 1 - share), (above, share))


def show(readings: Sequence[Reading], curve: EngineCurve) -> None:
    """The curve, and the readings' tokens/s."""
    table = Table("batch", "step, ms", "tokens/s without prompts", "measured, tokens/s")
    for batch, seconds in curve.steps:
        told = ", ".join(f"{one.tokens_per_s:,.0f}" for one in readings if one.load.batch == batch)
        table.add_row(str(batch), f"{1000 * seconds:.2f}", f"{batch / seconds:,.0f}", told)
    output_console().print(table)
    output_console().print(
        f"a request {1000 * curve.request_s:.2f} ms, on its way {1000 * curve.latency_s:.2f} ms, "
        f"a prompt token {1e6 * curve.prefill_token_s:.1f} µs, "
        f"a token held {1e9 * curve.context_token_s:.1f} ns a step; the fit's largest error {curve.fit_error:.1%}"
    )


async def _all_set(events: Sequence[asyncio.Event], slots: Sequence[asyncio.Task[None]]) -> None:
    """Until every slot has had an answer.

    Raises:
        InputError: the engine refused.
    """
    waiting = asyncio.gather(*(event.wait() for event in events))
    either: list[asyncio.Future[Any]] = [waiting, *slots]
    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
    for slot in slots:
        if slot.done():
            waiting.cancel()
            slot.result()
    await waiting


async def _slot(
    session: aiohttp.ClientSession, target: Target, load: Load, chance: random.Random, answered: asyncio.Event
) -> None:
    """One request after the other."""
    least, most = load.output - load.output // 2, load.output + load.output // 2
    while True:
        body: dict[str, Any] = {
            "model": target.model,
            "prompt": chance.choices(_IDS, k=load.prompt),
            "max_tokens": chance.randint(least, most),
            "ignore_eos": True,
            "temperature": 0.7,
            "top_p": 1.0,
            "seed": chance.randrange(2**31),
            "return_token_ids": True,
        }
        async with session.post(f"{target.url}/completions", json=body) as response:
            content = await response.read()
            if response.status != 200:
                raise InputError(f"{target.url} answered {response.status}: {content[:200]!r}")
        answered.set()


async def _counters(session: aiohttp.ClientSession, target: Target) -> tuple[Counters, float]:
    """The engine's counts, and when they were taken."""
    text = await _metrics(session, target)
    return read_counters(text), target.clock()


async def _metrics(session: aiohttp.ClientSession, target: Target) -> str:
    async with session.get(f"{target.root}/metrics") as response:
        return await response.text()


if __name__ == "__main__":
    typer.run(main)
