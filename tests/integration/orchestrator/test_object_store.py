"""Datasets in an object store, over HTTP."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import s3fs  # type: ignore[import-untyped]

from platolm.browse_api import MarkFilter
from platolm.dataset import read_manifest, read_records
from platolm.errors import InputError, OutputError
from platolm.marks import MARKS_FOLDER, MarkRequest, MarkValue, keep_mark, marked_indices
from platolm.runs_api import DatasetFormat
from platolm.spec import Output, RunSpec, Seed
from platolm.storage import Place, open_place
from services.orchestrator.browse.search import Search, Wanted
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from services.orchestrator.datasets.exports import export
from services.orchestrator.datasets.run_place import RunPlaces
from tests.browsed_dataset import dataset, said
from tests.object_store import ObjectStore, object_store

BUCKET = "s3://datasets"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ObjectStore]:
    with object_store(tmp_path_factory.mktemp("store") / "store.log") as running:
        running.make_bucket("datasets")
        yield running


@pytest.fixture
def place(store: ObjectStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Place:
    """An empty folder in the bucket."""
    for name, value in store.env.items():
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    return open_place(f"{BUCKET}/{tmp_path.name}")


def test_files_are_whole_and_names_are_taken_once(place: Place) -> None:
    place.make("sub")
    place.write("sub/a", [b"one", b"two"])
    assert place.read_many(["sub/a", "sub/b"]) == [b"onetwo", None]
    assert place.open("sub/b") is None
    file = place.open("sub/a")
    assert file is not None
    with file:
        assert file.read() == b"onetwo"
    assert place.create("n", b"first")
    assert not place.create("n", b"second")
    assert place.create("n", b"first"), "the answer to the same request got lost"
    assert place.read("n") == b"first"
    place.remove("n")
    place.remove("n")
    assert place.read("n") is None


def test_of_many_that_take_a_name_one_gets_it(place: Place) -> None:
    contents = [f"writer {number}".encode() for number in range(16)]
    with ThreadPoolExecutor(16) as pool:
        got = list(pool.map(lambda content: place.create("n", content), contents))
    assert sum(got) == 1
    assert place.read("n") == contents[got.index(True)]


def test_a_bucket_that_is_not_there_is_named(place: Place) -> None:
    with pytest.raises(OutputError, match=r"s3://nosuchbucket/a/n cannot be reached: .*bucket"):
        open_place("s3://nosuchbucket/a").create("n", b"")


def test_a_run_in_a_bucket(place: Place, tmp_path: Path) -> None:
    spec = RunSpec(conversations=60, output=Output(url=place.url))
    run = RunPlaces(tmp_path, [BUCKET]).of("run-a", spec)
    run.create(spec, [Seed(question="a"), Seed(question="b")])
    assert run.seeds().line(1) == '{"question":"b"}'
    assert os.listdir(tmp_path / "cache" / "seeds") == ["run-a.jsonl"]

    def commit_all(number: int) -> None:
        writer = DatasetWriter(run.place, conversations=60)
        for start in range(0, 60, 10):
            writer.commit({index: f'{{"index": {index}, "by": {number}}}' for index in range(start, start + 10)})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(commit_all, range(4)))
    indices = [record["index"] for record in read_records(run.place)]
    assert sorted(indices) == list(range(60))
    assert [entry.number for entry in read_manifest(run.place)] == list(range(1, 7))
    assert run.find(33) == {"index": 33, "by": run.find(33)["by"]}  # type: ignore[index]
    assert b"".join(export(run.place, DatasetFormat.SHAREGPT)).count(b"\n") == 60
    segments = s3fs.S3FileSystem().ls(f"{run.url.removeprefix('s3://')}/segments")
    assert len(segments) == 6, "what lost its entry was removed"


def test_a_dataset_there_is_browsed_and_marked(place: Place) -> None:
    run = dataset(place, [[said(0, "Hello", "Good day")], [said(1, "Basil?", "Yes"), said(2, "Bye", "Bye")]])
    assert place.names(MARKS_FOLDER) == []
    for index, value in ((0, MarkValue.GOOD), (2, MarkValue.BAD), (1, MarkValue.GOOD)):
        keep_mark(place, index, MarkRequest(mark=value))
    keep_mark(place, 1, MarkRequest())
    assert marked_indices(place) == [0, 2]
    pages = {text: Search(run, Wanted(text=text)).page(0, 10).records for text in ("BASIL", "bye", "nowhere")}
    assert {text: [record.index for record in found] for text, found in pages.items()} == {
        "BASIL": [1],
        "bye": [2],
        "nowhere": [],
    }
    [bad] = Search(run, Wanted(mark=MarkFilter.BAD)).page(0, 10).records
    assert (bad.index, bad.position, bad.mark and bad.mark.mark) == (2, 2, MarkValue.BAD)
    assert b"".join(export(place, DatasetFormat.SHAREGPT, MarkFilter.ANY)).count(b"\n") == 2


def test_a_place_outside_the_bucket_is_refused(tmp_path: Path) -> None:
    spec = RunSpec(conversations=1, output=Output(url="s3://elsewhere/a"))
    with pytest.raises(InputError, match="allow"):
        RunPlaces(tmp_path, [BUCKET]).of("run-a", spec)
