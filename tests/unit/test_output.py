"""The folder of a run: when it is taken, what goes into it, how the dataset is put together."""

from __future__ import annotations

import hashlib
import json
import os
import random
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest

from platolm.conversation import TerminationReason
from platolm.dataset import ManifestEntry, Record, compress_records, manifest_path, read_manifest, segment_path
from platolm.errors import OccupiedError, OutputError
from platolm.output import (
    RunFolder,
    digest_of_seeds,
    open_run_folder,
    segment_is_whole,
    write_sharegpt,
)
from platolm.runs import DeadConversation, RunProgress, RunState
from platolm.spec import RunRequest, RunSpec, Seed, SeedMode
from platolm.summary import Tally

API = "http://127.0.0.1:8000"
REQUEST = RunRequest(spec=RunSpec(conversations=6))


def record_of(index: int, *, size: int = 10) -> Record:
    turn = {"role": "user", "num_tokens": 3, "token_ids": [1, 2, 3]}
    return {
        "id": f"r-{index:08d}",
        "index": index,
        "conversations": [{"from": "human", "value": "x" * size}],
        "num_rounds": 1,
        "termination_reason": "context_full" if index % 2 else "repetition",
        "turns": [turn, turn],
        "finished_at": 1000.0 + index,
    }


def segment_of(number: int, *indices: int) -> tuple[ManifestEntry, bytes]:
    content = compress_records(record_of(index) for index in indices)
    digest = hashlib.sha256(content).hexdigest()
    name = f"{number:08d}-x.jsonl.zst"
    return ManifestEntry(
        number=number, segment=name, indices=list(indices), size_bytes=len(content), sha256=digest
    ), content


def progress_of(request: RunRequest, *, dead: int = 0) -> RunProgress:
    return RunProgress(
        id="r",
        state=RunState.COMPLETED,
        spec=request.spec,
        created_at=940.0,
        fed=6,
        in_flight=0,
        finished=6 - dead,
        committed=6 - dead,
        dead=dead,
        generated_tokens=650,
    )


def fill(folder: RunFolder) -> None:
    folder.save(run_id="r")
    folder.add_segment(*segment_of(1, 4, 1))
    folder.add_segment(*segment_of(2, 5, 0, 3))
    folder.add_segment(*segment_of(3, 2))


def test_a_new_folder_has_its_key_before_anything_else(tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "out", REQUEST, api=API) as folder:
        saved = json.loads((tmp_path / "out" / "run.json").read_text())
        assert saved["idempotency_key"] == folder.run.idempotency_key
        assert saved["run_id"] is None
        assert saved["spec_digest"] == REQUEST.spec.digest()


def test_the_same_run_finds_its_key_and_its_segments_again(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, REQUEST, api=API) as first:
        key = first.run.idempotency_key
        fill(first)
    with open_run_folder(tmp_path, REQUEST, api=API) as again:
        assert again.run.idempotency_key == key
        assert again.run.run_id == "r"
        assert (again.num_segments, again.num_conversations) == (3, 6)


def test_another_run_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, REQUEST, api=API):
        pass
    before = (tmp_path / "run.json").read_bytes()
    other = RunRequest(spec=RunSpec(conversations=7))
    with pytest.raises(OccupiedError, match="other spec"), open_run_folder(tmp_path, other, api=API):
        pass
    assert (tmp_path / "run.json").read_bytes() == before


def test_the_order_of_the_seeds_matters() -> None:
    a, b = Seed(question="a"), Seed(question="b")
    assert digest_of_seeds([a, b]) != digest_of_seeds([b, a])
    assert digest_of_seeds([a, b]) == digest_of_seeds([Seed(question="a"), Seed(question="b")])
    assert digest_of_seeds([]) != digest_of_seeds([a])


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(OccupiedError, match="holds no run"), open_run_folder(tmp_path, REQUEST, api=API):
        pass
    assert os.listdir(tmp_path) == ["notes.txt"]


def test_a_run_json_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"name": "marathon"}')
    with pytest.raises(OccupiedError, match="no run of this command"), open_run_folder(tmp_path, REQUEST, api=API):
        pass


def test_one_process_at_a_time(tmp_path: Path) -> None:
    with (
        open_run_folder(tmp_path, REQUEST, api=API),
        pytest.raises(OccupiedError, match="another platolm run"),
        open_run_folder(tmp_path, REQUEST, api=API),
    ):
        pass


def test_leftovers_of_a_killed_process_are_removed(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, REQUEST, api=API) as folder:
        fill(folder)
    leftovers = [".run.json.abc", ".sharegpt.jsonl.abc", "segments/.s.zst.abc", "manifest/.00000004.json.abc"]
    for name in leftovers:
        (tmp_path / name).write_text("half")
    with open_run_folder(tmp_path, REQUEST, api=API):
        assert not any((tmp_path / name).exists() for name in leftovers)


def test_a_first_write_that_was_killed_leaves_a_usable_folder(tmp_path: Path) -> None:
    (tmp_path / ".run.json.abc").write_text("half")
    with open_run_folder(tmp_path, REQUEST, api=API):
        assert os.listdir(tmp_path) == ["run.json"]


def test_from_a_missing_or_damaged_segment_on_they_are_fetched_again(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, REQUEST, api=API) as folder:
        fill(folder)
    second = segment_path(tmp_path, read_manifest(tmp_path)[1].segment)
    whole = second.read_bytes()
    second.write_bytes(whole[:-1] + b"\x00")
    with open_run_folder(tmp_path, REQUEST, api=API) as folder:
        assert folder.num_segments == 1
        folder.add_segment(*segment_of(2, 5, 0, 3))
        assert second.read_bytes() == whole
    second.unlink()
    with open_run_folder(tmp_path, REQUEST, api=API) as folder:
        assert folder.num_segments == 1


def test_segments_come_one_after_the_other(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, REQUEST, api=API) as folder:
        with pytest.raises(OutputError, match="gave segment 2 where 1 comes next"):
            folder.add_segment(*segment_of(2, 1))
        assert not manifest_path(tmp_path, 2).exists()


@pytest.mark.parametrize("name", ["../escape", "/etc/x", "", ".hidden", "a/b", "a\nb"])
def test_a_segment_name_stays_in_the_folder(tmp_path: Path, name: str) -> None:
    entry, content = segment_of(1, 1)
    with (
        open_run_folder(tmp_path / "out", REQUEST, api=API) as folder,
        pytest.raises(OutputError, match="which is no file name"),
    ):
        folder.add_segment(entry.model_copy(update={"segment": name}), content)


def test_a_segment_is_whole_only_if_every_byte_is() -> None:
    entry, content = segment_of(1, 1)
    assert segment_is_whole(entry, content)
    assert not segment_is_whole(entry, content[:-1])
    assert not segment_is_whole(entry, content[:-1] + bytes([content[-1] ^ 1]))


def test_the_dataset_is_in_order_and_the_summary_counts_it(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, REQUEST, api=API) as folder:
        fill(folder)
        summary = folder.complete(progress_of(REQUEST), [])
        assert folder.is_complete
    lines = [json.loads(line) for line in (tmp_path / "sharegpt.jsonl").read_bytes().splitlines()]
    assert [line["index"] for line in lines] == [0, 1, 2, 3, 4, 5]
    assert lines[0]["turns"] == [{"role": "user", "num_tokens": 3}] * 2
    assert {**record_of(0), "turns": lines[0]["turns"]} == lines[0]
    assert summary.finished == 6
    assert summary.terminations == {TerminationReason.CONTEXT_FULL: 3, TerminationReason.REPETITION: 3}
    assert (summary.mean_rounds, summary.mean_utterance_tokens, summary.utterances) == (1, 3, 12)
    assert summary.wall_time_s == 65
    assert summary.conversations_per_minute == pytest.approx(6 * 60 / 65)
    assert summary.tokens_per_s == 10


def test_a_run_of_which_all_is_dead_has_an_empty_dataset(tmp_path: Path) -> None:
    dead = [DeadConversation(id=f"r-{index}", index=index, attempts=3, error="no") for index in range(6)]
    with open_run_folder(tmp_path, REQUEST, api=API) as folder:
        folder.save(run_id="r")
        summary = folder.complete(progress_of(REQUEST, dead=6), dead)
    assert (tmp_path / "sharegpt.jsonl").read_bytes() == b""
    assert (summary.finished, summary.dead, summary.mean_rounds, summary.tokens_per_s) == (0, 6, 0, 0)
    assert summary.dead_conversations == dead


def test_a_cancelled_run_keeps_what_was_committed(tmp_path: Path) -> None:
    with open_run_folder(tmp_path, REQUEST, api=API) as folder:
        folder.save(run_id="r")
        folder.add_segment(*segment_of(1, 4, 1))
        cancelled = {"state": RunState.CANCELLED, "finished": 2, "committed": 2, "cancelled": 4}
        summary = folder.complete(progress_of(REQUEST).model_copy(update=cancelled), [])
    assert (summary.finished, summary.cancelled, summary.state) == (2, 4, RunState.CANCELLED)
    assert [json.loads(line)["index"] for line in (tmp_path / "sharegpt.jsonl").read_bytes().splitlines()] == [1, 4]


@pytest.mark.parametrize(
    ("state", "dead", "is_whole"),
    [
        (RunState.COMPLETED, 0, True),
        (RunState.COMPLETED, 1, False),
        (RunState.CANCELLED, 0, False),
    ],
)
def test_a_summary_knows_whether_all_is_there(state: RunState, dead: int, is_whole: bool) -> None:
    progress = progress_of(REQUEST, dead=dead).model_copy(update={"state": state})
    assert Tally().summary(progress, []).is_whole is is_whole


def test_a_refused_run_is_forgotten(tmp_path: Path) -> None:
    with open_run_folder(tmp_path / "out", REQUEST, api=API) as folder:
        folder.forget()
    assert not (tmp_path / "out").exists()


def test_large_datasets_do_not_pass_through_memory(tmp_path: Path) -> None:
    indices = list(range(2000))
    random.Random(0).shuffle(indices)

    def records() -> Iterator[Record]:
        for index in indices:
            yield record_of(index, size=20_000)

    tracemalloc.start()
    write_sharegpt(tmp_path / "sharegpt.jsonl", records())
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (tmp_path / "sharegpt.jsonl").stat().st_size > 40_000_000
    assert peak_bytes < 2_000_000
    assert os.listdir(tmp_path) == ["sharegpt.jsonl"]


def test_seeds_are_part_of_what_a_run_is(tmp_path: Path) -> None:
    spec = RunSpec(conversations=1, seed_mode=SeedMode.QUESTION)
    with open_run_folder(tmp_path, RunRequest(spec=spec, seeds=[Seed(question="a")]), api=API):
        pass
    other = RunRequest(spec=spec, seeds=[Seed(question="b")])
    with pytest.raises(OccupiedError, match="other seeds"), open_run_folder(tmp_path, other, api=API):
        pass
