"""A dataset's statistics: one pass over its parts, in this process or in several, then the measures of the sample."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path

from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from curation.stats.counting import Counted, Counting, begin_process, count
from curation.stats.figures import Measured, Statistics
from curation.stats.lengths import distance
from curation.stats.measures import figures_of, resampled_mean
from curation.stats.parts import PART_BYTES, Part, files_and_size, parts_of
from curation.stats.sampled import OnProgress, Raters, rate, unseen
from platolm.errors import InputError, PlatoLMError

DEFAULT_SEED = 125
DEFAULT_SAMPLE = 2000
_WAITING_PARTS = 2
"""Parts that wait for each process, so that none is idle and few are in memory."""

Limit = Callable[[], int | None]
"""The lot that a conversation must be below to come into the sample as it is now; None: any lot."""


@dataclass(frozen=True)
class StatsSettings:
    """How a dataset is measured.

    `tokenizer`: a model folder or hub name, None: the counts that records carry. `sample`: conversations that measures
    over pairs or by models are over. `processes`: None: one a core. `raters`: models for what no count can tell.
    """

    tokenizer: str | None = None
    seed: int = DEFAULT_SEED
    sample: int = DEFAULT_SAMPLE
    processes: int | None = None
    form: str | None = None
    raters: Raters = field(default_factory=Raters)


def statistics_of(paths: Sequence[Path], settings: StatsSettings | None = None, *, name: str = "") -> Statistics:
    """Everything that can be measured of the dataset at these paths; raises as `measure` does."""
    return measure(paths, settings, name=name).statistics


def measure(
    paths: Sequence[Path],
    settings: StatsSettings | None = None,
    *,
    name: str = "",
    on_progress: OnProgress = unseen,
) -> Measured:
    """The dataset at these paths (files, folders, or the folders of runs), measured.

    Memory does not grow with the number of conversations.

    Raises:
        InputError: nothing is there, no record can be read, or a rater is not to be had.
        OutputError: a run's manifest is damaged.
        SpeakerError: the judge or the embeddings' endpoint does not answer.
    """
    settings = settings or StatsSettings()
    name = name or ", ".join(path.name or str(path) for path in paths)
    with threadpool_limits(1, "blas"):
        total = _counted(paths, settings, on_progress)
        if not total.realism.conversations:
            raise InputError(f"{name}: no conversation in it{_most_frequent(total)}")
        rated = rate(total.sample, settings.raters, settings.seed, on_progress)
    statistics = Statistics(
        name=name,
        paths=[str(path) for path in paths],
        conversations=total.realism.conversations,
        unreadable=dict(total.unreadable.most_common()),
        seed=settings.seed,
        sample=len(total.sample),
        figures={**figures_of(total.sums), **rated.figures},
        realism=total.realism,
        user_lengths=dict(sorted(total.user_lengths.items())),
        endings=dict(total.endings.most_common()),
        goodbye_thresholds=total.goodbyes.rows(),
        goodbyes_unknown=total.goodbyes.unknown,
        made_by={"tokenizer": settings.tokenizer or "counts in the records", **rated.made_by},
        judge_cost=rated.judge_cost,
    )
    return Measured(statistics, total.lengths, resampled_mean(total.sums, "user_words"))


def _counted(paths: Sequence[Path], settings: StatsSettings, on_progress: OnProgress) -> Counted:
    """All parts, merged in their order."""
    files, size = files_and_size(paths)
    total, done = Counted(), 0

    def limit() -> int | None:
        return total.sample[-1].number if len(total.sample) == settings.sample else None

    processes = settings.processes or min(len(os.sched_getaffinity(0)), 1 + size // PART_BYTES)
    counting = Counting(settings.seed, settings.sample, settings.tokenizer)
    for counted, num_bytes in counted_parts(parts_of(files, settings.form), counting, limit, processes):
        total.merge(counted, settings.sample)
        done += num_bytes
        on_progress("conversations", total.realism.conversations, min(1.0, done / max(size, 1)))
    return total


def counted_parts(
    parts: Iterator[Part], counting: Counting, limit: Limit, processes: int
) -> Iterator[tuple[Counted, int]]:
    """Each part counted, and its bytes of the files, in the parts' order whatever the number of processes.

    Raises:
        PlatoLMError: a process died; or as `count` and `parts` raise.
    """
    if processes == 1:
        for position, part in enumerate(parts):
            yield count(position, part, counting, limit()), part.num_bytes
        return
    try:
        yield from _by_processes(parts, counting, limit, processes)
    except BrokenProcessPool as error:
        raise PlatoLMError(
            "a process that counted died, of too little memory perhaps: try --processes 1, or free some"
        ) from error


def _by_processes(
    parts: Iterator[Part], counting: Counting, limit: Limit, number: int
) -> Iterator[tuple[Counted, int]]:
    waiting: deque[tuple[Future[Counted], int]] = deque()

    def first() -> tuple[Counted, int]:
        future, num_bytes = waiting.popleft()
        return future.result(), num_bytes

    with ExitStack() as stack:
        pool = ProcessPoolExecutor(number, mp_context=get_context("spawn"), initializer=begin_process)
        stack.callback(pool.shutdown, wait=True, cancel_futures=True)
        for position, part in enumerate(parts):
            waiting.append((pool.submit(count, position, part, counting, limit()), part.num_bytes))
            if len(waiting) > _WAITING_PARTS * number:
                yield first()
        while waiting:
            yield first()


def _most_frequent(counted: Counted) -> str:
    return f" ({counted.unreadable.most_common(1)[0][0]})" if counted.unreadable else ""


def beside(measured: Measured, others: Sequence[Measured]) -> Statistics:
    """A dataset's statistics with its distances from each of the others."""
    return measured.statistics.model_copy(update={"distances": [distance(measured, other) for other in others]})
