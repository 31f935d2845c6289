"""Segments and manifest: committed once, by whichever writer, or not at all."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from platolm.dataset import read_manifest, read_records, segment_path
from platolm.errors import OutputError
from platolm.runs import RunSpec, Seed
from services.orchestrator import dataset
from services.orchestrator.dataset import DatasetWriter, RunFolder


def records(*indices: int) -> dict[int, dict[str, Any]]:
    return {index: {"index": index, "text": f"é {index}"} for index in indices}


def indices_in(folder: Path) -> list[int]:
    return [record["index"] for record in read_records(folder)]


def test_records_are_read_back_in_the_order_of_commitment(tmp_path: Path) -> None:
    writer = DatasetWriter(tmp_path)
    assert writer.commit(records(2, 0)) == 2
    assert writer.commit(records(1)) == 1
    assert indices_in(tmp_path) == [0, 2, 1]
    assert [entry.number for entry in read_manifest(tmp_path)] == [1, 2]
    assert list(read_manifest(tmp_path, after=1)[0].indices) == [1]


def test_what_is_committed_is_not_committed_again(tmp_path: Path) -> None:
    DatasetWriter(tmp_path).commit(records(0, 1))
    restarted = DatasetWriter(tmp_path)
    assert restarted.commit(records(1, 2)) == 1
    assert restarted.commit(records(0, 1, 2)) == 0
    assert sorted(indices_in(tmp_path)) == [0, 1, 2]


def test_of_two_writers_the_loser_reads_again(tmp_path: Path) -> None:
    first, second = DatasetWriter(tmp_path), DatasetWriter(tmp_path)
    first.commit(records(0, 1))
    assert second.commit(records(1, 2)) == 1
    assert first.commit(records(2, 3)) == 1
    assert sorted(indices_in(tmp_path)) == [0, 1, 2, 3]
    assert len(os.listdir(tmp_path / "segments")) == 3


def test_a_segment_without_a_manifest_entry_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = DatasetWriter(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(dataset, "_create_exclusively", _power_cut)
        with pytest.raises(SystemExit):
            writer.commit(records(0))
    assert len(os.listdir(tmp_path / "segments")) == 1
    assert indices_in(tmp_path) == []
    assert DatasetWriter(tmp_path).commit(records(0)) == 1
    assert indices_in(tmp_path) == [0]


def _power_cut(path: Path, content: bytes) -> bool:
    raise SystemExit


def test_a_full_disk_commits_nothing_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    writer = DatasetWriter(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OutputError, match="No space left"):
            writer.commit(records(0))
    assert indices_in(tmp_path) == []
    assert not list((tmp_path / "segments").iterdir())
    assert writer.commit(records(0)) == 1


def test_a_damaged_manifest_entry_is_reported(tmp_path: Path) -> None:
    DatasetWriter(tmp_path).commit(records(0))
    (tmp_path / "manifest" / "00000001.json").write_text("{", encoding="utf-8")
    with pytest.raises(OutputError, match="damaged"):
        DatasetWriter(tmp_path)


def test_segments_are_named_in_the_manifest(tmp_path: Path) -> None:
    DatasetWriter(tmp_path).commit(records(0))
    [entry] = read_manifest(tmp_path)
    assert segment_path(tmp_path, entry.segment).stat().st_size == entry.size_bytes


def test_a_run_folder_holds_its_seeds(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "run-a")
    folder.create(RunSpec(conversations=2), [Seed(question="a\nb\u2028c", line=1), Seed(question="d")])
    assert [Seed.model_validate_json(line).question for line in folder.seed_lines()] == ["a\nb\u2028c", "d"]
    assert RunSpec.model_validate_json((folder.path / "run.json").read_bytes()).conversations == 2
