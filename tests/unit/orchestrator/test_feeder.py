"""What a feeder moves, how much at a time, and what it leaves out."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from platolm.errors import OutputError
from platolm.runs import RunState
from platolm.spec import RunSpec, Seed, SeedMode
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from services.orchestrator.datasets.run_place import RunPlaces
from services.orchestrator.queue import Queue
from services.orchestrator.run_keeper import feeder as feeder_module
from services.orchestrator.run_keeper.feeder import Feeder
from services.orchestrator.run_keeper.open_run import OpenRun
from services.orchestrator.writer_settings import WriterSettings


class FakeQueue(Queue):
    """The feeding of one run as `feed.lua` does it, in memory."""

    def __init__(self) -> None:
        self.position: int | None = 0
        self.fed: dict[int, str] = {}
        self.done = 0
        self.calls: list[int] = []

    async def cursor(self, run_id: str) -> int | None:
        return self.position

    async def waiting(self, run_id: str) -> int:
        return len(self.fed) - self.done

    async def feed(self, run_id: str, *, cursor: int, seeds: Sequence[str], window: int, max_finished: int) -> int:
        self.calls.append(len(seeds))
        assert self.position is not None
        if cursor != self.position:
            return self.position
        for seed in seeds:
            if len(self.fed) - self.done >= window:
                break
            if seed:
                self.fed[self.position] = seed
            self.position += 1
        return self.position


class Fed:
    """A feeder of a run in a folder, before a queue in memory."""

    def __init__(self, folder: Path, seeds: list[str], *, window: int = 8192, **fields: Any) -> None:
        mode = SeedMode.QUESTION if seeds else SeedMode.FREE
        self.spec = RunSpec(seed_mode=mode, **fields)
        self.queue = FakeQueue()
        places = RunPlaces(folder)
        self.place = places.of("run-a", self.spec)
        self.place.create(self.spec, [Seed(question=seed) for seed in seeds])
        self.run = OpenRun("run-a", self.spec, places)
        self.feeder = Feeder(self.run, self.queue, WriterSettings(feed_window=window))

    def questions(self) -> list[str | None]:
        assert list(self.queue.fed) == sorted(self.queue.fed)
        return [Seed.model_validate_json(seed).question for seed in self.queue.fed.values()]

    def commit(self, *indices: int) -> None:
        """As another writer would."""
        writer = DatasetWriter(self.place.place, conversations=self.spec.conversations)
        writer.commit({index: f'{{"index": {index}}}' for index in indices})


async def test_seeds_come_in_their_order_again_and_again(tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a", "b"], conversations=5)
    assert await fed.feeder.step() == 5
    assert fed.questions() == ["a", "b", "a", "b", "a"]
    assert await fed.feeder.step() == 0


async def test_repeats_of_a_seed_stand_together(tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a", "b"], conversations=7, repeats=3)
    await fed.feeder.step()
    assert fed.questions() == ["a", "a", "a", "b", "b", "b", "a"]


async def test_a_free_run_needs_no_seeds(tmp_path: Path) -> None:
    fed = Fed(tmp_path, [], conversations=2)
    await fed.feeder.step()
    assert list(fed.queue.fed.values()) == ["{}", "{}"]


async def test_the_window_is_filled_and_refilled_once_enough_is_free(tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a"], conversations=100, window=16)
    assert await fed.feeder.step() == 16
    fed.queue.done = 1
    assert await fed.feeder.step() == 0
    fed.queue.done = 2
    assert await fed.feeder.step() == 2
    fed.queue.done = 18
    assert await fed.feeder.step() == 16


async def test_the_last_ones_do_not_wait_for_a_free_window(tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a"], conversations=17, window=16)
    await fed.feeder.step()
    fed.queue.done = 1
    assert await fed.feeder.step() == 1


async def test_batches_are_bounded(tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a"], conversations=2500)
    assert await fed.feeder.step() == 2500
    assert fed.queue.calls == [1024, 1024, 452]


async def test_large_seeds_make_small_batches_and_a_small_window(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feeder_module, "WINDOW_BYTES", 10_000)
    monkeypatch.setattr(feeder_module, "_BATCH_BYTES", 2_500)
    fed = Fed(tmp_path, ["x" * 980] * 3, conversations=100)
    assert await fed.feeder.step() == 10
    assert fed.queue.calls == [2, 2, 2, 2, 2]


async def test_a_seed_above_every_bound_is_fed_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feeder_module, "WINDOW_BYTES", 10)
    monkeypatch.setattr(feeder_module, "_BATCH_BYTES", 10)
    fed = Fed(tmp_path, ["x" * 100], conversations=2)
    assert await fed.feeder.step() == 1


async def test_conversations_of_the_dataset_are_passed_over(tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a", "b"], conversations=5)
    fed.commit(1, 4)
    assert await fed.feeder.step() == 5
    assert list(fed.queue.fed) == [0, 2, 3]


async def test_where_the_cursor_went_back_the_manifest_is_read_again(tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a"], conversations=6)
    await fed.feeder.step()
    fed.commit(3, 5)
    fed.queue.position, fed.queue.fed = 2, {0: "", 1: ""}
    assert await fed.feeder.step() == 4
    assert list(fed.queue.fed) == [0, 1, 2, 4]


@pytest.mark.parametrize("state", [RunState.PAUSED, RunState.CANCELLING, RunState.COMPLETED])
async def test_a_run_that_does_not_run_is_not_fed(state: RunState, tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a"], conversations=5)
    fed.run.state = state
    assert await fed.feeder.step() == 0
    assert fed.queue.calls == []


async def test_an_unknown_run_is_left_alone(tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a"], conversations=5)
    fed.queue.position = None
    assert await fed.feeder.step() == 0


async def test_another_feeder_that_was_first_wins(tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a"], conversations=50)
    plain = fed.queue.cursor

    async def stale(run_id: str) -> int | None:
        cursor = await plain(run_id)
        await FakeQueue.feed(fed.queue, run_id, cursor=0, seeds=['{"question":"a"}'] * 3, window=99, max_finished=9)
        return cursor

    fed.queue.cursor = stale  # type: ignore[method-assign]
    await fed.feeder.step()
    assert list(fed.queue.fed) == [0, 1, 2]


async def test_seeds_that_are_gone_are_reported(tmp_path: Path) -> None:
    fed = Fed(tmp_path, ["a"], conversations=5)
    (tmp_path / "runs" / "run-a" / "seeds.jsonl").unlink()
    for attempt in (fed.feeder.step, fed.feeder.probe):
        with pytest.raises(OutputError, match=r"seeds\.jsonl cannot be read"):
            await attempt()
