"""A dataset's folder: what goes into it, what is left out, whole or not at all, the same bytes again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq  # type: ignore[import-untyped]
import pytest

from curation.export.filters import Filters
from curation.export.forms import Unfit
from curation.export.split import Split
from curation.export.writing import Wanted, dataset_name, export_dataset
from platolm.browse_api import MarkFilter
from platolm.errors import InputError, OccupiedError
from platolm.runs_api import DatasetFormat
from tests.unit.curation.export.exported import IRREGULAR, lines_file, run_folder, sharegpt


def rows_of(path: Path) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(path.read_text())
    return rows


def ids_of(path: Path) -> list[str]:
    return [row["id"] for row in rows_of(path)]


def everything_below(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_becomes_a_folder_with_its_card_and_list(tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = export_dataset([run_folder(tmp_path / "run")], out, Wanted())
    assert sorted(everything_below(out)) == ["README.md", "data/train.json", "dataset_info.json"]
    rows = rows_of(out / "data/train.json")
    assert [row["num_rounds"] for row in rows] == [1, 2, 3] * 4
    assert [row["mark"] for row in rows[:5]] == ["", "", "good", "bad", ""]
    assert "private" not in (out / "data/train.json").read_text()
    assert (report.num_read, report.num_written, report.left_out) == (12, 12, {})
    assert report.lines()[0] == "12 conversations read, 12 written"


@pytest.mark.parametrize(
    ("filters", "indices"),
    [
        (Filters(min_rounds=2), [1, 2, 4, 5, 7, 8, 10, 11]),
        (Filters(endings=frozenset({"user_ended", "context_full"})), [1, 2, 4, 5, 7, 8, 10, 11]),
        (Filters(endings=frozenset({"turn_limit"})), [0, 3, 6, 9]),
        (Filters(mark=MarkFilter.GOOD), [2]),
        (Filters(mark=MarkFilter.BAD), [3]),
        (Filters(mark=MarkFilter.ANY), [2, 3]),
    ],
)
def test_filters(filters: Filters, indices: list[int], tmp_path: Path) -> None:
    report = export_dataset([run_folder(tmp_path / "run")], tmp_path / "out", Wanted(filters=filters))
    assert ids_of(tmp_path / "out/data/train.json") == [f"run-a-{index:08d}" for index in indices]
    assert report.left_out.total() == 12 - len(indices)


def test_marks_in_exported_records_count_too(tmp_path: Path) -> None:
    export_dataset([run_folder(tmp_path / "run")], tmp_path / "once", Wanted())
    wanted = Wanted(filters=Filters(mark=MarkFilter.GOOD))
    export_dataset([tmp_path / "once" / "data"], tmp_path / "again", wanted)
    assert ids_of(tmp_path / "again/data/train.json") == ["run-a-00000002"]
    assert rows_of(tmp_path / "again/data/train.json") == rows_of(tmp_path / "once/data/train.json")[2:3]


def test_what_other_trainers_refuse_is_left_out_and_counted(tmp_path: Path) -> None:
    source = lines_file(tmp_path / "in.jsonl", *IRREGULAR)
    report = export_dataset([source], tmp_path / "out", Wanted())
    rows = rows_of(tmp_path / "out/data/train.json")
    assert [(row["id"], len(row["conversations"]), row["system"]) for row in rows] == [
        ("hanging", 2, ""),
        ("system", 2, "Be kind."),
    ]
    reasons = (Unfit.NOT_ALTERNATING, Unfit.NOT_USER_FIRST, Unfit.OTHER_ROLES, Unfit.EMPTY, Unfit.NOTHING)
    assert report.left_out == Counter([*reasons, "not a dialogue"])
    assert report.num_cut == 1
    reason = "no list under any of conversations, items, messages, conversation, and no OASST prompt"
    assert f"  1 × left out: not a dialogue (first: {source}:8: {reason})" in report.lines()


def test_irregular_ones_can_be_kept_as_they_are(tmp_path: Path) -> None:
    source = lines_file(tmp_path / "in.jsonl", *IRREGULAR)
    report = export_dataset([source], tmp_path / "out", Wanted(keep_irregular=True))
    rows = rows_of(tmp_path / "out/data/train.json")
    assert [row["conversations"] for row in rows] == [record["conversations"] for record in IRREGULAR[:-1]]
    assert report.left_out == {"not a dialogue": 1}


def test_openings_that_are_alike_are_in_one_split(tmp_path: Path) -> None:
    talks = [
        sharegpt(f"{i}{variant}", ("human", opening), ("gpt", f"{i} {variant}"))
        for i in range(60)
        for variant, opening in (("a", f"Ask {i}?"), ("b", f" ASK {i}"))
    ]
    source = lines_file(tmp_path / "in.jsonl", *talks)
    report = export_dataset([source], tmp_path / "out", Wanted(test_share=0.3))
    train, test = (ids_of(tmp_path / f"out/data/{split}.json") for split in ("train", "test"))
    assert {i[:-1] for i in train} & {i[:-1] for i in test} == set()
    assert sorted(train + test) == sorted(talk["id"] for talk in talks)
    assert 20 <= len(test) <= 52
    assert list(report.splits) == [Split.TRAIN, Split.TEST]
    info = json.loads((tmp_path / "out/dataset_info.json").read_text())
    assert [entry["file_name"] for entry in info.values()] == ["data/train.json", "data/test.json"]
    assert list(info) == ["out", "out_test"]


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    for form in DatasetFormat:
        wanted = Wanted(form=form, test_share=0.4, title="Talks")
        for name in ("a", "b"):
            export_dataset([run], tmp_path / f"{form}-{name}", wanted)
        assert everything_below(tmp_path / f"{form}-a") == everything_below(tmp_path / f"{form}-b")


def test_json_lines_and_messages_are_a_record_a_line(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    export_dataset([run], tmp_path / "lines", Wanted(lines=True))
    export_dataset([run], tmp_path / "openai", Wanted(form=DatasetFormat.OPENAI))
    lines = [json.loads(line) for line in (tmp_path / "lines/data/train.jsonl").read_bytes().splitlines()]
    messages = [json.loads(line) for line in (tmp_path / "openai/data/train.jsonl").read_bytes().splitlines()]
    assert len(lines) == len(messages) == 12
    assert [turn["value"] for turn in lines[1]["conversations"]] == [m["content"] for m in messages[1]["messages"]]


def test_parquet_comes_in_row_groups(tmp_path: Path) -> None:
    talks = [sharegpt(str(i), ("human", f"Ask {i}?"), ("gpt", "Yes.")) for i in range(1500)]
    source = lines_file(tmp_path / "in.jsonl", *talks)
    export_dataset([source], tmp_path / "out", Wanted(form=DatasetFormat.PARQUET))
    parquet = pq.ParquetFile(tmp_path / "out/data/train.parquet")
    assert [parquet.metadata.row_group(i).num_rows for i in range(parquet.num_row_groups)] == [1024, 476]
    assert parquet.read().column("id").to_pylist() == [str(i) for i in range(1500)]


def test_a_file_that_is_named_twice_counts_once(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    report = export_dataset([run, run], tmp_path / "out", Wanted())
    assert report.num_read == 12


def test_a_folder_that_holds_something_is_not_touched(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    run = run_folder(tmp_path / "run")
    export_dataset([run], out, Wanted())
    before = everything_below(out)
    with pytest.raises(OccupiedError, match="give another --out"):
        export_dataset([run], out, Wanted(lines=True))
    assert everything_below(out) == before


def test_nothing_appears_where_nothing_is_left(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    with pytest.raises(InputError, match="nothing is left to hand on: 12 conversations read, 0 written; 12 × left out"):
        export_dataset([run], tmp_path / "out", Wanted(filters=Filters(min_rounds=9)))
    with pytest.raises(InputError, match="every conversation is in the test split"):
        export_dataset([run], tmp_path / "out", Wanted(test_share=1.0))
    with pytest.raises(InputError, match="no such file"):
        export_dataset([tmp_path / "none"], tmp_path / "out", Wanted())
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_llama_factorys_name_is_a_word() -> None:
    assert [dataset_name(title) for title in ("My talks (2)", "a/b", "…")] == ["my_talks_2", "a_b", "dataset"]
