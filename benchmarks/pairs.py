"""A run, and a bare client's replay of it, each before engines that were just started."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cores import Cores, pinned_to
from benchmarks.counters import Counters
from benchmarks.engines import ROLES, Engine, Served, read_all, running_engines, urls_by_role
from benchmarks.full_stack import Shape, complete, orchestrator
from benchmarks.recorded import in_order, num_prompt_tokens, requests_of
from benchmarks.replay import prepare, replay
from platolm.dataset import Record
from platolm.errors import InputError
from platolm.sampling import PAPERS_SAMPLING, Sampling
from platolm.tokenizer import load_tokenizer


@dataclass(frozen=True)
class Figures:
    """What one way of working reached: the engines' counters, and the seconds that it took."""

    counters: Counters
    seconds: float

    @property
    def tokens_per_s(self) -> float:
        return self.counters.generated_tokens / self.seconds


@dataclass(frozen=True)
class Bench:
    """What both of a pair have in common."""

    served: Served
    cores: Cores
    shape: Shape
    in_flight: int
    folder: Path

    def room(self, name: str) -> Path:
        """A new folder for the files of one measurement."""
        folder = self.folder / name
        folder.mkdir()
        return folder


AfterReplay = Callable[[list[Engine], list[Record]], Awaitable[None]]


async def through_the_stack(bench: Bench, name: str) -> tuple[Figures, list[Record], float]:
    """A run through the whole stack: its figures, its records, and the seconds until all was in the dataset."""
    folder = bench.room(name)
    async with running_engines(bench.served, bench.cores, folder) as engines:
        await require_room(engines, bench)
        before = await read_all(engines)
        with orchestrator(folder, urls_by_role(engines), bench.in_flight, bench.cores) as api:
            run = await complete(api, bench.shape.spec())
        counters = await read_all(engines) - before
    return Figures(counters, run.seconds), run.records, run.committed_s


async def by_a_bare_client(bench: Bench, name: str, records: list[Record], after: AfterReplay | None = None) -> Figures:
    """The run's own requests from one bare client; `after` may go on with the engines."""
    tokenizers = {role: load_tokenizer(model) for role, model in bench.served.models.items()}
    conversations = [requests_of(record, tokenizers) for record in in_order(records)]
    async with running_engines(bench.served, bench.cores, bench.room(name)) as engines:
        urls = {engine.role: engine.url for engine in engines}
        models = {engine.role: engine.model for engine in engines}
        prepared = prepare(conversations, urls, models, Sampling(**PAPERS_SAMPLING))
        before = await read_all(engines)
        with pinned_to(bench.cores.client):
            replayed = await replay(prepared, bench.in_flight)
        counters = await read_all(engines) - before
        if after is not None:
            await after(engines, records)
    return Figures(counters, replayed.seconds)


async def require_room(engines: list[Engine], bench: Bench) -> None:
    """See that admission lets all conversations in flight at once, so that both ways have the same concurrency.

    Raises:
        InputError: a side's caches are too small for them.
    """
    needed = bench.in_flight * bench.shape.context_tokens
    for role in ROLES:
        held = sum([(await engine.cache_shape()).num_tokens for engine in engines if engine.role == role])
        if held < needed:
            raise InputError(
                f"{bench.in_flight} conversations of {bench.shape.context_tokens} tokens need {needed:,} tokens of KV "
                f"cache, a side has {held:,}: raise --kv-cache-gib or lower --in-flight"
            )


def covered(records: list[Record], counters: Counters) -> float:
    """Share of the engines' prompt tokens that the dataset tells of; below 1 where utterances were made again."""
    return num_prompt_tokens(records) / counters.prompt_tokens
