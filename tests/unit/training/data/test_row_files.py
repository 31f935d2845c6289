"""Rows on disk and back, mapped."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from training.data import row_files
from training.data.row_files import Row, mapped_rows, write_rows


def row(*labels: int, first_turn: int = 0) -> Row:
    ids = [label if label != -100 else 9 for label in labels]
    return Row(np.array(ids, dtype=np.int32), np.array(labels, dtype=np.int32), first_turn)


def test_rows_come_back_in_the_order_of_the_files(tmp_path: Path) -> None:
    assert write_rows(tmp_path / "train-00001.arrow", [row(3, first_turn=2)]) == 1
    assert write_rows(tmp_path / "train-00000.arrow", iter([row(-100, 5, 6), row(-100, -100, 7, 8)])) == 4
    write_rows(tmp_path / "held_out-00000.arrow", [row(1)])
    rows = mapped_rows(tmp_path, "train")
    assert rows[:] == {
        "input_ids": [[9, 5, 6], [9, 9, 7, 8], [3]],
        "labels": [[-100, 5, 6], [-100, -100, 7, 8], [3]],
        "length": [3, 4, 1],
        "num_labels": [2, 2, 1],
        "first_turn": [0, 0, 2],
    }
    assert {name: str(feature) for name, feature in rows.features.items()} == {
        "input_ids": "List(Value('int32'))",
        "labels": "List(Value('int32'))",
        "length": "Value('int32')",
        "num_labels": "Value('int32')",
        "first_turn": "Value('int32')",
    }
    assert [Path(file["filename"]).name for file in rows.cache_files] == ["train-00000.arrow", "train-00001.arrow"]


def test_many_rows_go_into_several_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_files, "_BATCH_TOKENS", 10)
    wanted = [row(*range(1, 2 + i % 5)) for i in range(50)]
    assert write_rows(tmp_path / "train-00000.arrow", wanted) == sum(len(one.labels) for one in wanted)
    rows = mapped_rows(tmp_path, "train")
    assert rows["labels"][:] == [one.labels.tolist() for one in wanted]
    assert len(rows.data.to_batches()) > 5


def test_no_rows_are_no_file_and_an_empty_dataset(tmp_path: Path) -> None:
    assert write_rows(tmp_path / "held_out-00000.arrow", []) == 0
    assert list(tmp_path.iterdir()) == []
    empty = mapped_rows(tmp_path, "held_out")
    write_rows(tmp_path / "train-00000.arrow", [row(1)])
    assert len(empty) == 0
    assert empty.features == mapped_rows(tmp_path, "train").features


def test_a_file_is_never_written_over(tmp_path: Path) -> None:
    write_rows(tmp_path / "train-00000.arrow", [row(1)])
    with pytest.raises(FileExistsError):
        write_rows(tmp_path / "train-00000.arrow", [row(2)])
