"""A run that is not over, as the process that feeds and writes it holds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from platolm.runs import RunState
from platolm.spec import RunSpec
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from services.orchestrator.datasets.run_place import RunPlace, RunPlaces
from services.orchestrator.datasets.seed_file import SeedFile

T = TypeVar("T")


class OpenRun:
    """Its place, seeds and dataset, opened when they are first needed. `state` is what Redis said last."""

    def __init__(self, run_id: str, spec: RunSpec, places: RunPlaces) -> None:
        self.id = run_id
        self.spec = spec
        self.state = RunState.RUNNING
        self._places = places
        self._place: RunPlace | None = None
        self._dataset: DatasetWriter | None = None
        self._disk = asyncio.Lock()

    def place(self) -> RunPlace:
        """Where it lies.

        Raises:
            InputError: the operator does not allow that place (any more), or it cannot be used.
        """
        if self._place is None:
            self._place = self._places.of(self.id, self.spec)
        return self._place

    async def dataset(self) -> DatasetWriter:
        """Its dataset, whose manifest is read the first time. Use it through `blocking`.

        Raises:
            OutputError: the manifest cannot be read.
        """
        if self._dataset is None:
            self._dataset = await self.blocking(self._open_dataset)
        return self._dataset

    async def seeds(self) -> SeedFile:
        """Its seeds; none for a free run.

        Raises:
            OutputError: they cannot be read.
        """
        return await asyncio.to_thread(self.place().seeds)

    async def blocking(self, work: Callable[[], T]) -> T:
        """Do what touches the dataset in a thread, one thing at a time."""
        async with self._disk:
            return await asyncio.to_thread(work)

    def _open_dataset(self) -> DatasetWriter:
        if self._dataset is not None:
            return self._dataset
        output = self.spec.output
        return DatasetWriter(self.place().place, conversations=self.spec.conversations, form=output.format)
