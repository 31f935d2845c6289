"""Seed files as `platolm.seeds` reads them: what is in them, what is left out and why, and the same bytes again."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from curation.seeds.making import BY_FILE, Choice, make_seeds, read_used_ids
from curation.seeds.sources import Kind, Reason
from platolm.errors import InputError
from platolm.seeds import read_seeds
from platolm.spec import SeedMode

TASKS = ("open_qa", "open_qa", "open_qa", "summarization")


def dolly(number: int) -> dict[str, Any]:
    category = TASKS[number % 4]
    text = f"Text {number}." if category == "summarization" else ""
    return {"instruction": f"Ask {number}?", "context": text, "response": f"Say {number}.", "category": category}


def write(path: Path, *records: Any) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return path


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def forty(tmp_path: Path) -> Path:
    return write(tmp_path / "dolly.jsonl", *map(dolly, range(40)))


def test_all_records_in_their_order_and_read_by_a_run(forty: Path, tmp_path: Path) -> None:
    out = tmp_path / "seeds.jsonl"
    report = make_seeds([forty], out, Choice())
    assert report.lines() == ["40 records read, 40 seeds, 0 left out"]
    seeds = read_seeds(out, SeedMode.EXCHANGE).seeds
    assert [(one.question, one.answer) for one in seeds[2:4]] == [
        ("Ask 2?", "Say 2."),
        ("This is a Summarization task.\nAsk 3?\nText 3.", "Say 3."),
    ]
    assert lines_of(out)[0]["id"] == "dolly.jsonl:1"


def test_a_stratified_draw_keeps_the_proportions_and_gives_the_same_bytes(forty: Path, tmp_path: Path) -> None:
    out, again, other = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    report = make_seeds([forty], out, Choice(sample=8, seed=125, stratify="category"))
    assert report.strata == {"open_qa": 6, "summarization": 2}
    assert [line["category"] for line in lines_of(out)].count("open_qa") == 6
    assert report.lines() == [
        "40 records read, 8 seeds, 32 left out",
        "  32 × not drawn",
        "  open_qa 6, summarization 2",
    ]
    make_seeds([forty], again, Choice(sample=8, seed=125, stratify="category"))
    make_seeds([forty], other, Choice(sample=8, seed=126, stratify="category"))
    assert out.read_bytes() == again.read_bytes() != other.read_bytes()


def test_each_input_file_is_a_stratum_of_the_baselines(tmp_path: Path) -> None:
    files = [
        write(tmp_path / f"{name}.json", *({"data": [f"{name} {i}?", "Yes."]} for i in range(size)))
        for name, size in (("one", 30), ("two", 10))
    ]
    out = tmp_path / "out.jsonl"
    report = make_seeds(files, out, Choice(Kind.ULTRACHAT, sample=4, stratify=BY_FILE))
    assert report.strata == {"one.json": 3, "two.json": 1}
    assert {len(line["conversations"]) for line in lines_of(out)} == {2}
    assert len(read_seeds(out, SeedMode.EXCHANGE).seeds) == 4


def test_questions_asked_before_are_left_out_with_the_first_place(tmp_path: Path) -> None:
    source = write(
        tmp_path / "in.jsonl", {"prompt": "Tea?"}, {"prompt": " TEA? "}, {"prompt": "Tea!"}, {"prompt": ""}, 5
    )
    out = tmp_path / "out.jsonl"
    report = make_seeds([source], out, Choice())
    assert [line["question"] for line in lines_of(out)] == ["Tea?", "Tea!"]
    assert report.left_out == {Reason.REPEATED: 1, Reason.NO_QUESTION: 1, Reason.OTHER_FORM: 1}
    assert f"  1 × asked before (first: {source}:2)" in report.lines()
    assert make_seeds([source], out, Choice(keep_repeats=True)).num_written == 3


def test_ids_used_already_are_left_out(forty: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    make_seeds([forty], first, Choice(sample=25))
    report = make_seeds([forty], second, Choice(sample=25, used_ids=read_used_ids([first])))
    assert report.left_out == {Reason.USED: 25}
    ids = [{line["id"] for line in lines_of(path)} for path in (first, second)]
    assert (len(ids[0]), len(ids[1]), ids[0] & ids[1]) == (25, 15, set())


def test_ids_come_from_records_values_and_lines_of_text(tmp_path: Path) -> None:
    (tmp_path / "ids.txt").write_text("a\n\n b \n")
    records = write(tmp_path / "seeds.jsonl", {"id": 7}, {"id": "c"})
    values = tmp_path / "ids.json"
    values.write_text('["d", 8]')
    assert read_used_ids([tmp_path / "ids.txt", records, values]) == {"a", "b", "7", "c", "d", "8"}
    with pytest.raises(InputError, match=r"seeds\.jsonl:1 has no id"):
        read_used_ids([write(tmp_path / "seeds.jsonl", {"question": "Tea?"})])


def test_text_lists_and_packed_files(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"Tea?\n\n\xff\n Coffee? \n")
    (tmp_path / "b.json").write_text('["Milk?", {"prompt": "Water?"}]')
    (tmp_path / "c.jsonl.gz").write_bytes(gzip.compress(b'{"question": "Juice?"}\nbroken\n'))
    out = tmp_path / "out.jsonl"
    report = make_seeds([tmp_path / name for name in ("a.txt", "b.json", "c.jsonl.gz")], out, Choice())
    assert [line["question"] for line in lines_of(out)] == ["Tea?", "Coffee?", "Milk?", "Water?", "Juice?"]
    assert [line["id"] for line in lines_of(out)] == ["a.txt:1", "a.txt:4", "b.json:1", "b.json:2", "c.jsonl.gz:1"]
    assert report.left_out == {Reason.NOT_JSON: 2}


def test_nothing_is_written_where_no_seed_is_left(tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", {"prompt": ""})
    with pytest.raises(InputError, match="no seed is left: 1 records read, 0 seeds, 1 left out; 1 × no question"):
        make_seeds([source], tmp_path / "out.jsonl", Choice())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl"]


def test_misuse_is_refused_before_anything_is_written(forty: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="--stratify needs --sample N"):
        make_seeds([forty], out, Choice(stratify="category"))
    with pytest.raises(InputError, match="no record has a field 'topic'"):
        make_seeds([forty], out, Choice(sample=3, stratify="topic"))
    with pytest.raises(InputError, match="is an input: give another --out"):
        make_seeds([forty], forty, Choice())
    with pytest.raises(InputError, match="no such file"):
        make_seeds([tmp_path / "none.jsonl"], out, Choice())
    assert not out.exists()
    assert len(lines_of(forty)) == 40
