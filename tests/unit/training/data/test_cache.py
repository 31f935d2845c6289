"""The cache: one entry for each content and setting, made once, whole or not there."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from platolm.errors import InputError, OutputError
from training.data import cache
from training.data.cache import key_of, made_once, whole_entry
from training.data.report import DataReport
from training.recipes.recipe import Data, Side


@pytest.fixture
def tokenizer_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "tokenizer"
    folder.mkdir()
    for name in cache.TOKENIZER_FILES[:2]:
        (folder / name).write_text(f"{name} one", encoding="utf-8")
    return folder


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    paths = [tmp_path / name for name in ("a.jsonl", "b.jsonl")]
    for path in paths:
        path.write_text(path.name, encoding="utf-8")
    return paths


def key(files: list[Path], tokenizer_folder: Path, side: Side = Side.SOCRATIC, **settings: Any) -> str:
    return key_of(files, tokenizer_folder, Data(**settings), side)


def test_names_and_places_do_not_count_but_order_does(
    files: list[Path], tokenizer_folder: Path, tmp_path: Path
) -> None:
    same = key(files, tokenizer_folder)
    (tmp_path / "moved").mkdir()
    moved = [path.rename(tmp_path / "moved" / f"x{path.name}") for path in files]
    assert key(moved, tokenizer_folder, paths=("elsewhere",)) == same
    assert key(moved[::-1], tokenizer_folder) != same
    assert key([moved[0]], tokenizer_folder) != same


@pytest.mark.parametrize(
    "settings",
    [
        {"max_length": 1024},
        {"split_long": False},
        {"bos_in_loss": False},
        {"held_out_share": 0.1},
        {"split_salt": "1"},
        {"turn_limits": {"user": 9}},
        {"join_share": 0.5},
        {"arrangements": 2},
        {"side": Side.PLATOLM},
        {"side": Side.BOTH},
    ],
    ids=str,
)
def test_every_setting_counts(files: list[Path], tokenizer_folder: Path, settings: dict[str, Any]) -> None:
    assert key(files, tokenizer_folder, **settings) != key(files, tokenizer_folder)


def test_no_setting_was_forgotten_here() -> None:
    """A new field of `Data` makes this fail: add it above, and raise the format's version if rows change."""
    assert set(Data.model_fields) == {
        *("paths", "max_length", "split_long", "bos_in_loss", "held_out_share"),
        *("split_salt", "turn_limits", "join_share", "arrangements"),
    }


def test_contents_tokenizer_and_format_count(
    files: list[Path], tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [key(files, tokenizer_folder)]
    files[1].write_text("other", encoding="utf-8")
    keys.append(key(files, tokenizer_folder))
    for name in cache.TOKENIZER_FILES:
        (tokenizer_folder / name).write_text("other", encoding="utf-8")
        keys.append(key(files, tokenizer_folder))
    monkeypatch.setattr(cache, "FORMAT_VERSION", 0)
    keys.append(key(files, tokenizer_folder))
    assert len(set(keys)) == 6


def test_the_same_bytes_packed_otherwise_are_other_data(files: list[Path], tokenizer_folder: Path) -> None:
    before = key(files, tokenizer_folder)
    files[0] = files[0].rename(files[0].with_suffix(".gz"))
    assert key(files, tokenizer_folder) != before


def making(calls: list[Path], *, num_read: int = 7) -> Callable[[Path], DataReport]:
    def make(folder: Path) -> DataReport:
        assert folder.is_dir()
        assert list(folder.iterdir()) == []
        calls.append(folder)
        (folder / "train-00000.arrow").write_bytes(b"rows")
        return DataReport(num_read=num_read)

    return make


def test_an_entry_is_made_once_and_found_again(tmp_path: Path) -> None:
    calls: list[Path] = []
    made = made_once(tmp_path / "cache" / "key", making(calls))
    found = made_once(tmp_path / "cache" / "key", making(calls, num_read=8))
    assert len(calls) == 1
    assert made == found == whole_entry(tmp_path / "cache" / "key")
    assert found.sizes == {"train-00000.arrow": 4}
    assert found.report.num_read == 7
    assert sorted(path.name for path in (tmp_path / "cache").iterdir()) == ["key", "key.lock"]


def test_several_at_once_make_it_once(tmp_path: Path) -> None:
    calls: list[Path] = []
    begun, results = threading.Barrier(4), []

    def ask() -> None:
        begun.wait()
        results.append(made_once(tmp_path / "key", making(calls)))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert [result.report.num_read for result in results] == [7] * 4


@pytest.mark.parametrize("error", [InputError("no"), KeyboardInterrupt()])
def test_what_fails_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    def failing(folder: Path) -> DataReport:
        (folder / "train-00000.arrow").write_bytes(b"half")
        raise error

    with pytest.raises(type(error)):
        made_once(tmp_path / "key", failing)
    assert [path.name for path in tmp_path.iterdir()] == ["key.lock"]


@pytest.mark.parametrize("damage", ["cut", "lost", "added", "rows.json"])
def test_a_torn_entry_is_never_read_but_made_again(tmp_path: Path, damage: str) -> None:
    calls: list[Path] = []
    folder = tmp_path / "key"
    made_once(folder, making(calls))
    if damage == "cut":
        (folder / "train-00000.arrow").write_bytes(b"ro")
    elif damage == "lost":
        (folder / "train-00000.arrow").unlink()
    elif damage == "added":
        (folder / "train-00001.arrow").write_bytes(b"rows")
    else:
        (folder / "rows.json").write_text("{", encoding="utf-8")
    assert whole_entry(folder) is None
    assert made_once(folder, making(calls)) == whole_entry(folder)
    assert len(calls) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["rows.json", "train-00000.arrow"]


def test_what_a_killed_process_left_is_removed(tmp_path: Path) -> None:
    left = tmp_path / ".key.abc"
    left.mkdir()
    (left / "train-00000.arrow").write_bytes(b"half")
    other = tmp_path / ".other.abc"
    other.mkdir()
    made_once(tmp_path / "key", making([]))
    assert not left.exists()
    assert other.exists()


def test_a_cache_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OutputError, match=r"file/key cannot be written"):
        made_once(tmp_path / "file" / "key", making([]))
