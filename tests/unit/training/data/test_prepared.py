"""`prepare` from files to mapped rows: found again, made again, or refused with a line that says why."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from platolm.dataset import compress_records, manifest_path, segment_path
from platolm.errors import InputError, TokenizerError
from platolm.tokenizer import HubTokenizer
from tests.unit.training.data.records import labelled_runs, labelled_text, record, write_lines
from training.data import PreparedRows, prepare, prepared
from training.data.reading import Chunk, chunks_of, files_of, text_size
from training.data.report import SkipReason
from training.data.workers import Built, Job, build_here
from training.recipes.recipe import Data, Side

RECORDS = [record(f"Question {i}?", f"Answer {i}.", "And then?", "The end.") for i in range(60)]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    write_lines(folder / "a.jsonl", [*RECORDS[:40], {"broken": True}])
    (folder / "b.jsonl.gz").write_bytes(gzip.compress(write_lines(folder / "b.txt", RECORDS[40:]).read_bytes()))
    return folder


class Asking:
    """`prepare` with one tokenizer and cache; `progress` holds the calls of the last time."""

    def __init__(self, tokenizer: Path, cache: Path) -> None:
        self.tokenizer, self.cache = tokenizer, cache
        self.progress: list[tuple[int, int]] = []

    def __call__(self, path: Path, side: Side = Side.SOCRATIC, **settings: Any) -> PreparedRows:
        num_processes = settings.pop("num_processes", None)
        self.progress = []
        return prepare(
            Data(paths=(str(path),), **{"max_length": 512, "held_out_share": 0.2, **settings}),
            side,
            self.tokenizer,
            self.cache,
            on_progress=lambda done, total: self.progress.append((done, total)),
            num_processes=num_processes,
        )


@pytest.fixture
def ask(byte_tokenizer_folder: Path, tmp_path: Path) -> Asking:
    return Asking(byte_tokenizer_folder, tmp_path / "cache")


def everything(rows: PreparedRows) -> tuple[Any, Any]:
    return rows.train[:], rows.held_out[:]


def test_files_become_rows_once(ask: Asking, data: Path, byte_tokenizer: HubTokenizer) -> None:
    made = ask(data)
    assert ask.progress
    assert [done for done, _ in ask.progress] == sorted(done for done, _ in ask.progress)
    total = sum((data / name).stat().st_size for name in ("a.jsonl", "b.jsonl.gz"))
    assert ask.progress[-1] == (total, total)
    found = ask(data)
    assert ask.progress == []
    assert everything(found) == everything(made)
    assert (found.folder, found.report) == (made.folder, made.report)
    said = {labelled_text(byte_tokenizer, labels) for labels in [*made.train["labels"], *made.held_out["labels"]]}
    assert said == {f"<Question {i}?><And then?>" for i in range(60)}
    assert (len(made.train), len(made.held_out)) == (made.report.train.num_rows, made.report.held_out.num_rows)
    assert made.report.num_skipped == 1
    assert made.report.skipped[SkipReason.NOT_A_CONVERSATION].examples[0].line == 41


def test_processes_make_the_same_rows(ask: Asking, data: Path, tmp_path: Path) -> None:
    alone = ask(data, num_processes=1)
    ask.cache = tmp_path / "another cache"
    together = ask(data, num_processes=2)
    assert ask.progress
    assert everything(together) == everything(alone)
    assert together.report == alone.report


def test_another_content_setting_or_side_is_another_entry(ask: Asking, data: Path) -> None:
    first = ask(data)
    folders = {first.folder, ask(data, max_length=600).folder, ask(data, Side.PLATOLM).folder}
    write_lines(data / "a.jsonl", RECORDS[:30])
    changed = ask(data)
    assert len(folders | {changed.folder}) == 4
    assert changed.report.num_used == 50
    assert len(first.train) + len(first.held_out) == 60


def test_a_damaged_entry_is_made_again(ask: Asking, data: Path) -> None:
    made = ask(data)
    wanted = everything(made)
    file = made.folder / "train-00000.arrow"
    file.rename(file.with_suffix(".gone"))
    assert everything(ask(data)) == wanted
    assert ask.progress


def test_more_data_leaves_every_conversation_on_its_side(ask: Asking, data: Path) -> None:
    few = ask(data)
    write_lines(data / "c.jsonl", [record(f"Another question {i}?", "Yes.") for i in range(100)])
    many = ask(data)
    for name in ("train", "held_out"):
        before, after = (getattr(rows, name)["input_ids"][:] for rows in (few, many))
        assert after[: len(before)] == before
        assert len(after) > len(before)


def test_the_report_is_in_the_datas_order_whichever_chunk_is_first(
    ask: Asking, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def last_first(job: Job, chunks: Iterator[Chunk], num_processes: int) -> Iterator[Built]:
        return iter(list(build_here(job, chunks))[::-1])

    monkeypatch.setattr(prepared, "build_in_processes", last_first)
    monkeypatch.setattr(prepared, "chunks_of", partial(chunks_of, chunk_text=500))
    lines = [one for pair in zip(RECORDS, [{"broken": True}] * 60, strict=True) for one in pair]
    report = ask(write_lines(tmp_path / "a.jsonl", lines), num_processes=2).report
    assert len(ask.progress) > 5
    assert [example.line for example in report.skipped[SkipReason.NOT_A_CONVERSATION].examples] == [2, 4, 6]


def test_nothing_may_be_held_out(ask: Asking, data: Path) -> None:
    rows = ask(data, held_out_share=0.0)
    assert (len(rows.train), len(rows.held_out)) == (60, 0)
    assert rows.held_out.features == rows.train.features


def test_a_gigantic_conversation_among_small_ones(ask: Asking, data: Path) -> None:
    write_lines(data / "c.jsonl", [record(*("lorem ipsum " * 30 for _ in range(400)))])
    rows = ask(data, held_out_share=0.0)
    assert max(rows.train["length"][:]) <= 512
    assert rows.report.train.num_split == 1
    assert rows.train["first_turn"][:][60:] == list(range(200))


def test_a_runs_folder_is_learned_with_the_ids_as_generated(tmp_path: Path, demo_tokenizer: HubTokenizer) -> None:
    letters = [demo_tokenizer.encode(letter)[0] for letter in "Hello"]
    said = record("Hello", "Hello") | {"turns": [{"token_ids": None}, {"token_ids": letters}]}
    content = compress_records([said])
    entry = {"number": 1, "segment": "part.jsonl.zst", "indices": [0], "size_bytes": len(content), "sha256": "00"}
    for path, written in (
        (segment_path(tmp_path / "run", "part.jsonl.zst"), content),
        (manifest_path(tmp_path / "run", 1), json.dumps(entry).encode()),
    ):
        path.parent.mkdir(parents=True)
        path.write_bytes(written)
    data = Data(paths=(str(tmp_path / "run"),), held_out_share=0.0)
    (labels,) = prepare(data, Side.PLATOLM, demo_tokenizer.name, tmp_path / "cache").train["labels"]
    assert labelled_runs(labels) == [[demo_tokenizer.bos_id, *letters, demo_tokenizer.eos_id]]


def test_data_without_anything_to_learn_is_refused(ask: Asking, tmp_path: Path) -> None:
    file = write_lines(tmp_path / "a.jsonl", [{"broken": True}, record("Hi"), record("Tea?")])
    with pytest.raises(InputError) as caught:
        ask(file, Side.PLATOLM)
    assert str(caught.value) == (
        "none of the 3 records can be learned from: "
        f"1 × not a conversation ({file}:1: a record needs a list 'conversations'); "
        f"2 × no turn of the learned side ({file}:2: roles: user)"
    )
    assert not list(ask.cache.glob("*/"))


def test_empty_files_and_all_held_out_are_refused(ask: Asking, data: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="none of the 0 records can be learned from: the files are empty"):
        ask(write_lines(tmp_path / "empty.jsonl", []))
    with pytest.raises(InputError, match=r"60 usable conversations, of which 60 held out\): give more data, or lower"):
        ask(data, held_out_share=1.0)


def test_rows_too_short_for_the_header_are_refused(ask: Asking, data: Path) -> None:
    with pytest.raises(InputError, match="60 × header and system messages fill a row"):
        ask(data, max_length=100)


def test_a_model_without_a_tokenizer_is_refused(ask: Asking, data: Path, tmp_path: Path) -> None:
    ask.tokenizer = tmp_path
    with pytest.raises(TokenizerError, match=r"holds no tokenizer\.json"):
        ask(data)


def test_processes_are_started_where_the_data_is_worth_it(
    ask: Asking, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[int] = []

    def counted(job: Job, chunks: Iterator[Chunk], num_processes: int) -> Iterator[Built]:
        started.append(num_processes)
        return build_here(job, chunks)

    monkeypatch.setattr(prepared, "build_in_processes", counted)
    ask(data, num_processes=None)
    assert started == []
    monkeypatch.setattr(prepared, "_WORTH_PROCESSES", text_size(files_of([str(data)])))
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1, 2})
    ask(data, max_length=600)
    assert started == [3]
