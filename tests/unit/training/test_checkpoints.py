"""A checkpoint counts once it is whole; what is torn is seen and goes."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from platolm.errors import OutputError
from training.checkpoints import complete, is_complete, newest_checkpoint, remove_torn, saving, what_is_kept


def checkpoint(folder: Path, step: int, *, whole: bool = True) -> Path:
    path = folder / f"checkpoint-{step}"
    (path / "optimizer_0").mkdir(parents=True)
    (path / "model.safetensors").write_bytes(b"weights")
    (path / "optimizer_0" / "__0_0.distcp").write_bytes(b"moments")
    if whole:
        complete(path)
    return path


def test_the_newest_is_the_latest_whole_one_by_number(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "missing") is None
    checkpoint(tmp_path, 9)
    newest = checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 11, whole=False)
    (tmp_path / "checkpoint-best").mkdir()
    assert newest_checkpoint(tmp_path) == newest


@pytest.mark.parametrize("damage", ["shorter", "missing", "mark"])
def test_what_was_damaged_later_is_not_whole(damage: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path, 1)
    assert is_complete(path)
    shard = path / "optimizer_0" / "__0_0.distcp"
    match damage:
        case "shorter":
            shard.write_bytes(b"mom")
        case "missing":
            shard.unlink()
        case "mark":
            (path / "complete.json").write_text("{", encoding="utf-8")
    assert not is_complete(path)


def test_torn_ones_go_and_whole_ones_stay(tmp_path: Path) -> None:
    whole, torn = checkpoint(tmp_path, 1), checkpoint(tmp_path, 2, whole=False)
    remove_torn(tmp_path)
    assert whole.is_dir()
    assert not torn.exists()


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("[enforce fail] failed writing file")]
)
def test_a_failure_to_write_names_what_is_left_and_removes_the_rest(error: Exception, tmp_path: Path) -> None:
    kept = checkpoint(tmp_path, 1)
    with pytest.raises(OutputError) as raised:
        fail_to_save(tmp_path, error)
    assert f"{kept} is intact" in str(raised.value)
    assert str(error.args[-1]) in str(raised.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-1"]


def fail_to_save(folder: Path, error: Exception) -> None:
    with saving(folder / "checkpoint-2"):
        checkpoint(folder, 2, whole=False)
        raise error


def test_without_a_checkpoint_it_says_so(tmp_path: Path) -> None:
    assert what_is_kept(tmp_path) == "there is no checkpoint yet"
