"""The stages as a datatrove pipeline, run by its local executor: the same dialogues as `platolm clean` writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("datatrove", reason="datatrove is not installed")

from datatrove.executor import LocalPipelineExecutor  # type: ignore[import-untyped]

from curation.clean.flow import flow
from curation.clean.pipeline import clean
from curation.clean.settings import GLOBAL_STAGES, USUAL_STAGES, CleanSettings, StageName
from tests.unit.curation.clean.records import mixed, read_lines, record, write_json, write_lines

LOCAL = CleanSettings(stages=USUAL_STAGES - GLOBAL_STAGES, languages=("en",))


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    folder = tmp_path / "in"
    folder.mkdir()
    records = mixed(6)
    return [
        write_json(folder / "0.json", records[:20]),
        write_lines(folder / "1.jsonl", ["{broken", *records[20:33]]),
        write_json(folder / "2.json", records[33:]),
    ]


def executed(paths: list[Path], folder: Path, settings: CleanSettings, tasks: int) -> None:
    steps = flow(paths, folder / "out", settings)
    LocalPipelineExecutor(steps, tasks=tasks, workers=1, logging_dir=str(folder / "logs")).run()


def by_cleaning(paths: list[Path], folder: Path, settings: CleanSettings) -> bytes:
    clean(paths, folder / "clean.jsonl", folder / "report.json", settings, num_processes=1)
    return (folder / "clean.jsonl").read_bytes()


def written(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((folder / "out").iterdir())}


def test_one_task_writes_what_platolm_clean_writes(sources: list[Path], tmp_path: Path) -> None:
    executed(sources, tmp_path, LOCAL, tasks=1)
    assert written(tmp_path) == {"00000.jsonl": by_cleaning(sources, tmp_path, LOCAL)}


def test_each_of_two_tasks_writes_what_is_of_its_files(sources: list[Path], tmp_path: Path) -> None:
    executed(sources, tmp_path, LOCAL, tasks=2)
    assert written(tmp_path) == {
        "00000.jsonl": by_cleaning(sources[::2], tmp_path, LOCAL),
        "00001.jsonl": by_cleaning(sources[1::2], tmp_path, LOCAL),
    }


def test_two_workers_write_the_same(sources: list[Path], tmp_path: Path) -> None:
    executed(sources, tmp_path / "one", LOCAL, tasks=2)
    steps = flow(sources, tmp_path / "two" / "out", LOCAL)
    LocalPipelineExecutor(steps, tasks=2, workers=2, logging_dir=str(tmp_path / "two" / "logs")).run()
    assert written(tmp_path / "two") == written(tmp_path / "one")


def test_duplicates_are_found_in_what_comes_out(sources: list[Path], tmp_path: Path) -> None:
    """Two steps past one machine give what one gives on it."""
    executed(sources, tmp_path, LOCAL, tasks=1)
    both = CleanSettings(stages=GLOBAL_STAGES)
    in_two_steps = by_cleaning([tmp_path / "out"], tmp_path, both)
    whole = CleanSettings(stages=USUAL_STAGES, languages=("en",))
    assert in_two_steps == by_cleaning(sources, tmp_path, whole)


def test_splitting_is_a_step_too(tmp_path: Path, byte_tokenizer_folder: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [record("long", *(f"{n} " * 100 for n in range(6)))])
    settings = CleanSettings(stages=frozenset({StageName.SPLIT}), max_length=900, tokenizer=str(byte_tokenizer_folder))
    executed([source], tmp_path, settings, tasks=1)
    assert written(tmp_path)["00000.jsonl"] == by_cleaning([source], tmp_path, settings)
    assert len(read_lines(tmp_path / "out" / "00000.jsonl")) > 1


def test_what_is_done_is_not_done_again_and_what_is_not_is(sources: list[Path], tmp_path: Path) -> None:
    """Run again after a task was lost, the other's file stays as it is, byte for byte and untouched."""
    executed(sources, tmp_path, LOCAL, tasks=2)
    complete = written(tmp_path)
    (tmp_path / "logs" / "completions" / "00001").unlink()
    (tmp_path / "out" / "00001.jsonl").write_bytes(b"half a li")
    (tmp_path / "out" / "00000.jsonl").write_bytes(b"done before")
    executed(sources, tmp_path, LOCAL, tasks=2)
    assert written(tmp_path) == {**complete, "00000.jsonl": b"done before"}


def test_its_accounts_are_those_of_the_report(sources: list[Path], tmp_path: Path) -> None:
    executed(sources, tmp_path, LOCAL, tasks=2)
    by_cleaning(sources, tmp_path, LOCAL)
    stages = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["stages"]
    steps = json.loads((tmp_path / "logs" / "stats.json").read_text(encoding="utf-8"))
    expected = {stage["name"]: stage for stage in stages}
    reading, *cleaning, _ = [step["stats"] for step in steps]
    assert total(reading, "total") == expected["parse"]["conversations_in"]
    for name, stats in zip((name for name in StageName if name in LOCAL), cleaning, strict=True):
        assert total(stats, "total") == expected[name]["conversations_in"]
        assert total(stats, "dropped") == sum(expected[name]["dropped"].values())


def total(stats: dict[str, Any], name: str) -> int:
    """Of all tasks; a number that only ever grew by one is written without its spread."""
    found = stats.get(name, 0)
    return int(found["total"] if isinstance(found, dict) else found)
