"""Where a run lies, and what is read there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from platolm.dataset import RUN_FILE
from platolm.errors import InputError, OutputError
from platolm.spec import Output, RunSpec, Seed
from platolm.storage import LocalPlace
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from services.orchestrator.datasets.run_place import RunPlace, RunPlaces
from tests.unit.orchestrator.watched_place import WatchedPlace

SEEDS = [Seed(question="a\nb\u2028c", line=1), Seed(question="d")]


def spec_at(url: str | None = None, conversations: int = 9) -> RunSpec:
    return RunSpec(conversations=conversations, output=Output(url=url))


@pytest.fixture(params=["local", "memory"])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunPlace:
    url = f"memory://{tmp_path.name}" if request.param == "memory" else None
    place = RunPlaces(tmp_path, [url] if url else []).of("run-a", spec_at(url))
    place.create(spec_at(url), SEEDS)
    return place


def commit(run: RunPlace, *batches: list[int]) -> None:
    writer = DatasetWriter(run.place, conversations=9)
    for batch in batches:
        writer.commit({index: f'{{"index": {index}}}' for index in batch})


def test_a_run_holds_its_spec_and_seeds(run: RunPlace) -> None:
    seeds = run.seeds()
    assert [Seed.model_validate_json(seeds.line(i)) for i in range(len(seeds))] == SEEDS
    content = run.place.read(RUN_FILE)
    assert content is not None
    assert RunSpec.model_validate_json(content).conversations == 9


def test_a_conversation_is_found_by_its_index(run: RunPlace) -> None:
    commit(run, [3, 0])
    assert run.find(3) == {"index": 3}
    assert run.find(1) is None
    commit(run, [5], [1, 2])
    assert [run.find(index) for index in (0, 1, 2, 5)] == [{"index": index} for index in (0, 1, 2, 5)]
    assert [run.find(index) for index in (-1, 4, 9)] == [None, None, None]


def test_a_segment_is_opened_by_its_name_alone(run: RunPlace) -> None:
    commit(run, [0])
    [entry] = run.manifest()
    file = run.open_segment(entry.segment)
    assert file is not None
    with file:
        assert len(file.read()) == entry.size_bytes
    for name in ("../run.json", f"../segments/{entry.segment}", "a" * 32 + ".parquet"):
        assert run.open_segment(name) is None


def test_what_is_committed_can_be_read_and_followed(run: RunPlace) -> None:
    commit(run, [3, 0], [1])
    assert [record["index"] for record in run.records()] == [0, 3, 1]
    assert [entry.number for entry in run.manifest(after=1)] == [2]


def test_a_run_that_did_not_come_to_be_is_taken_back(run: RunPlace) -> None:
    run.discard()
    assert run.place.read(RUN_FILE) is None
    with pytest.raises(OutputError):
        run.seeds()


def test_runs_without_a_place_of_their_own_lie_in_the_data_folder(tmp_path: Path) -> None:
    place = RunPlaces(tmp_path).of("run-a", spec_at()).place
    assert isinstance(place, LocalPlace)
    assert place.path == tmp_path / "runs" / "run-a"


def test_places_that_are_not_allowed_are_refused(tmp_path: Path) -> None:
    places = RunPlaces(tmp_path, ["memory://ours", "file:///out"])
    assert places.of("run-a", spec_at("memory://ours/deep")).url == "memory://ours/deep/run-a"
    assert places.of("run-a", spec_at("file:///out/")).url == "/out/run-a"
    for url in ("memory://other", "memory://ours2", "memory://ours/../x", "file:///outer"):
        with pytest.raises(InputError, match=r"output\.url"):
            places.of("run-a", spec_at(url))


def test_a_store_that_overwrites_is_refused(tmp_path: Path) -> None:
    class Overwriting(WatchedPlace):
        def create(self, name: str, content: bytes) -> bool:
            self.inner.write(name, [content])
            return True

    run = RunPlace(Overwriting(LocalPlace(tmp_path)), 9, tmp_path / "cache")
    with pytest.raises(InputError, match="gives one name to two writers"):
        run.create(spec_at(), SEEDS)
    assert sorted(os.listdir(tmp_path)) == ["manifest", "segments"]


def test_a_copy_of_seeds_is_dropped(tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    places, spec = RunPlaces(tmp_path, [url]), spec_at(url)
    run = places.of("run-a", spec)
    run.create(spec, SEEDS)
    assert len(run.seeds()) == 2
    assert os.listdir(tmp_path / "cache" / "seeds") == ["run-a.jsonl"]
    for _ in range(2):
        places.forget("run-a")
    assert os.listdir(tmp_path / "cache" / "seeds") == []
