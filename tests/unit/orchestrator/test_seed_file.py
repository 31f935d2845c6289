"""Seeds by position, from a disk or from a copy of what lies elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.errors import OutputError
from platolm.storage import open_place
from services.orchestrator.datasets.seed_file import SEEDS_FILE, SeedFile, open_seed_file


@given(st.lists(st.text().map(lambda text: text.replace("\n", "")), max_size=12))
def test_each_line_is_found_by_its_position(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    path = tmp_path_factory.mktemp("seeds") / SEEDS_FILE
    path.write_bytes("".join(line + "\n" for line in lines).encode())
    seeds = SeedFile(path)
    assert [seeds.line(position) for position in range(len(seeds))] == lines
    for outside in (-1, len(lines)):
        with pytest.raises(IndexError):
            seeds.line(outside)


def test_the_mean_size(tmp_path: Path) -> None:
    path = tmp_path / SEEDS_FILE
    path.write_bytes(b"")
    assert SeedFile(path).mean_bytes == 0
    path.write_bytes(b"1\n456789\n")
    assert SeedFile(path).mean_bytes == 4.5


def test_a_remote_file_is_copied_once(tmp_path: Path) -> None:
    place = open_place(f"memory://{tmp_path.name}")
    place.write(SEEDS_FILE, [b"a\n", b"b\n"])
    cache = tmp_path / "cache" / "run-a.jsonl"
    assert open_seed_file(place, cache).line(1) == "b"
    assert cache.read_bytes() == b"a\nb\n"
    place.remove(SEEDS_FILE)
    assert open_seed_file(place, cache).line(0) == "a"


@pytest.mark.parametrize("kind", ["memory", "local"])
def test_a_file_that_is_gone_is_named(kind: str, tmp_path: Path) -> None:
    place = open_place(tmp_path if kind == "local" else f"memory://{tmp_path.name}-none")
    with pytest.raises(OutputError, match=r"seeds\.jsonl"):
        open_seed_file(place, tmp_path / "cache" / "x.jsonl")
    assert not (tmp_path / "cache").exists() or not list((tmp_path / "cache").iterdir())
