"""Places: what appears whole, and which names are taken once."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from platolm.errors import InputError, OutputError
from platolm.storage import LocalPlace, Place, check_url, file_url, open_place, remove_leftovers

PLACES = ("local", "memory")


@pytest.fixture(params=PLACES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """A folder on disk, and one in fsspec's memory, each empty."""
    made = open_place(tmp_path / "place" if request.param == "local" else f"memory://{tmp_path.name}")
    made.make("sub")
    return made


def test_what_is_written_is_read(place: Place) -> None:
    place.write("sub/a", [b"one", b"two"])
    assert place.read("sub/a") == b"onetwo"
    place.write("sub/a", [])
    assert place.read("sub/a") == b""


def test_a_file_that_is_not_there_is_none(place: Place) -> None:
    place.write("b", [b"b"])
    assert place.read_many(["a", "b", "sub/c"]) == [None, b"b", None]
    assert place.open("a") is None


def test_an_open_file_gives_its_bytes(place: Place) -> None:
    place.write("a", [b"0123456789"])
    file = place.open("a")
    assert file is not None
    with file:
        assert (file.read(4), file.read()) == (b"0123", b"456789")


def test_a_name_is_taken_once(place: Place) -> None:
    assert place.create("sub/1", b"first")
    assert not place.create("sub/1", b"second")
    assert place.read("sub/1") == b"first"


def test_a_removed_name_can_be_taken_again(place: Place) -> None:
    place.create("a", b"1")
    place.remove("a")
    place.remove("a")
    assert place.create("a", b"2")


def test_the_last_step_is_announced_before_the_file_is_there(place: Place) -> None:
    seen: list[bytes | None] = []
    place.write("a", [b"1"], before_visible=lambda: seen.append(place.read("a")))
    assert seen == [None]
    assert place.read("a") == b"1"


def test_a_failure_before_the_last_step_leaves_nothing(tmp_path: Path) -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        LocalPlace(tmp_path).write("a", [b"1"], before_visible=fail)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_went_away_is_not_made_again(tmp_path: Path) -> None:
    place = LocalPlace(tmp_path / "gone")
    for attempt in (lambda: place.write("a", [b""]), lambda: place.create("a", b"")):
        with pytest.raises(OutputError, match=r"gone/a cannot be written: No such file"):
            attempt()
    assert not place.path.exists()


def failing(number: int) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = LocalPlace(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing(errno.ENOSPC))
        for attempt in (lambda: place.write("a", [b"1"]), lambda: place.create("a", b"1")):
            with pytest.raises(OutputError, match="a cannot be written: No space left"):
                attempt()
    assert os.listdir(tmp_path) == []


def test_a_file_system_without_links_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", failing(errno.EPERM))
    with pytest.raises(InputError, match="without hard links"):
        LocalPlace(tmp_path).create("a", b"1")
    assert os.listdir(tmp_path) == []


def test_files_can_be_read_by_others(tmp_path: Path) -> None:
    LocalPlace(tmp_path).write("a", [b"1"])
    LocalPlace(tmp_path).create("b", b"1")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in "ab"] == [0o644, 0o644]


def test_a_file_url_is_the_folder(tmp_path: Path) -> None:
    place = open_place(file_url(tmp_path / "a b"))
    assert isinstance(place, LocalPlace)
    assert place.path == tmp_path / "a b"


@pytest.mark.parametrize(
    "url",
    [
        "folder", "s3://bucket/../x", "s3://bucket/a::file:///x", "s3://bucket//x", "s3://bucket/./x", "s3://b/x?y",
        "s3://b/*", "s3://b/[a]", "file://relative", "://x", "s3://",
    ],
)  # fmt: skip
def test_urls_that_could_mean_something_else_are_refused(url: str) -> None:
    with pytest.raises(InputError):
        check_url(url)


@pytest.mark.parametrize("url", ["s3://bucket", "s3://bucket/a/b", "s3://bucket/a/", "file:///a/b", "memory://a"])
def test_plain_urls_are_taken(url: str) -> None:
    check_url(url)


def test_a_scheme_that_nobody_knows_is_refused() -> None:
    with pytest.raises(InputError, match="nosuch://a cannot be used: Protocol not known: nosuch"):
        open_place("nosuch://a")


def test_a_file_system_that_cannot_take_a_name_once_is_refused() -> None:
    with pytest.raises(InputError, match="local:///a cannot take a name exclusively"):
        open_place("local:///a").make()


def test_only_old_temporary_files_are_removed(tmp_path: Path) -> None:
    folder = tmp_path / "run" / "segments"
    folder.mkdir(parents=True)
    names = [".a.parquet.x1.tmp", ".b.jsonl.zst.x2.tmp", "c.jsonl.zst", ".hidden", "d.tmp"]
    hour_ago = time.time() - 3700
    for name in names:
        (folder / name).write_bytes(b"")
        os.utime(folder / name, (hour_ago, hour_ago))
    (folder / ".young.tmp").write_bytes(b"")
    assert remove_leftovers(tmp_path, older_than_s=3600) == 2
    assert sorted(os.listdir(folder)) == [".hidden", ".young.tmp", "c.jsonl.zst", "d.tmp"]


def test_what_is_left_half_written_counts_as_a_leftover(tmp_path: Path) -> None:
    left: list[str] = []
    LocalPlace(tmp_path).write("a", [b"1"], before_visible=lambda: left.extend(os.listdir(tmp_path)))
    assert [name.startswith(".a.") and name.endswith(".tmp") for name in left] == [True]
