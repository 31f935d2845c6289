"""Chunks built in this process, or by processes of their own that share nothing but a folder.

A worker is `python -m training.data.worker`, not a fork (CUDA and threads may be alive here) and not a spawned copy of
the main module (which imports torch). It ends when its connection does, so that none outlives a killed run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe, wait
from pathlib import Path

from platolm.errors import TrainingError
from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.data.building import ChunkBuilder
from training.data.reading import Chunk
from training.data.report import DataReport
from training.recipes.recipe import Data, Side


@dataclass(frozen=True)
class Job:
    """What a worker needs besides chunks. `tokenizer` is a folder, or a name on the hub whose files are here."""

    data: Data
    side: Side
    tokenizer: str
    folder: Path

    def builder(self, tokenizer: HubTokenizer | None = None) -> ChunkBuilder:
        return ChunkBuilder(self.data, self.side, tokenizer or load_tokenizer(self.tokenizer), self.folder)


Built = tuple[Chunk, DataReport]


def build_here(job: Job, chunks: Iterable[Chunk], tokenizer: HubTokenizer | None = None) -> Iterator[Built]:
    """Build chunk after chunk; the tokenizer's own threads are the parallelism."""
    builder = job.builder(tokenizer)
    for chunk in chunks:
        yield chunk, builder.build(chunk)


def build_in_processes(job: Job, chunks: Iterable[Chunk], num_processes: int) -> Iterator[Built]:
    """Build chunks in so many processes; they come as they are finished.

    Raises:
        PlatoLMError, OSError: as a worker met it.
        TrainingError: a worker died.
    """
    with ExitStack() as stack:
        workers = [stack.enter_context(_worker(job)) for _ in range(num_processes)]
        busy: dict[Connection, Chunk] = {}
        for chunk in chunks:
            while not workers:
                yield from _finished(busy, workers)
            worker = workers.pop()
            _send(worker, chunk)
            busy[worker] = chunk
        while busy:
            yield from _finished(busy, workers)


def _finished(busy: dict[Connection, Chunk], free: list[Connection]) -> Iterator[Built]:
    """What is finished, at least one chunk; its workers are free again."""
    for ready in wait(list(busy)):
        assert isinstance(ready, Connection)
        with _death_named():
            answer = ready.recv()
        if isinstance(answer, Exception):
            raise answer
        free.append(ready)
        yield busy.pop(ready), answer


@contextmanager
def _worker(job: Job) -> Iterator[Connection]:
    """A worker process that has its job; killed where an error ends the work."""
    connection, its_end = Pipe()
    with its_end:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "training.data.worker", str(its_end.fileno())],
            pass_fds=[its_end.fileno()],
            env={**os.environ, "PYTHONPATH": _module_path(), "TOKENIZERS_PARALLELISM": "false"},
            start_new_session=True,  # Ctrl-C is for this process, which then ends its workers
        )
    try:
        _send(connection, job)
        yield connection
    except BaseException:
        process.kill()
        raise
    finally:
        connection.close()
        process.wait()


def _send(connection: Connection, what: Job | Chunk) -> None:
    with _death_named():
        connection.send(what)


@contextmanager
def _death_named() -> Iterator[None]:
    try:
        yield
    except (EOFError, ConnectionError) as error:
        raise TrainingError(
            "a process that tokenised the data died, of too little memory perhaps: start again on a machine with more"
        ) from error


def _module_path() -> str:
    return os.pathsep.join(entry or os.getcwd() for entry in sys.path)
