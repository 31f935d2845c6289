"""Files of conversations to rows of ids and labels."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import pytest

from platolm.conversation import ASSISTANT, USER, Message
from platolm.dataset import compress_records
from platolm.dyadic import PLATOLM, SOCRATIC, DyadicProfile, Turn, compose
from platolm.errors import InputError, RecordsError
from platolm.tokenizer import HubTokenizer
from platolm.tokenizing import tokenize_file

DIALOGUE = [Message(USER, "Hello </s>"), Message(ASSISTANT, "How are you?"), Message(USER, "fine")]
SHAREGPT = {
    "id": "a",
    "conversations": [
        {"from": "human", "value": "Hello </s>"},
        {"from": "gpt", "value": "How are you?"},
        {"from": "human", "value": "fine"},
    ],
}
OPENAI = {
    "messages": [
        {"role": "user", "content": "Hello </s>"},
        {"role": "assistant", "content": "How are you?"},
        {"role": "user", "content": "fine"},
    ]
}


def write_lines(path: Path, *records: Any) -> Path:
    path.write_text("".join((r if isinstance(r, str) else json.dumps(r)) + "\n" for r in records), encoding="utf-8")
    return path


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize("profile", [SOCRATIC, PLATOLM])
def test_rows_are_those_of_compose(tmp_path: Path, tiny_tokenizer: HubTokenizer, profile: DyadicProfile) -> None:
    source = write_lines(tmp_path / "in.jsonl", SHAREGPT, "", OPENAI)
    counts = tokenize_file(source, tmp_path / "out.jsonl", profile, tiny_tokenizer)
    expected = compose(DIALOGUE, profile, tiny_tokenizer)
    row = {"input_ids": expected.input_ids, "labels": expected.labels}
    assert rows_of(tmp_path / "out.jsonl") == [{"id": "a", **row}, {"id": "3", **row}]
    assert (counts.rows, counts.tokens) == (2, 2 * len(expected.input_ids))
    assert counts.labelled_tokens == 2 * sum(label != -100 for label in expected.labels)


def test_length_and_bos_options(tmp_path: Path, tiny_tokenizer: HubTokenizer) -> None:
    source = write_lines(tmp_path / "in.jsonl", SHAREGPT)
    tokenize_file(source, tmp_path / "out.jsonl", SOCRATIC, tiny_tokenizer, max_length=100, bos_in_loss=False)
    expected = compose(DIALOGUE, SOCRATIC, tiny_tokenizer, max_length=100, bos_in_loss=False)
    (row,) = rows_of(tmp_path / "out.jsonl")
    assert (row["input_ids"], row["labels"]) == (expected.input_ids, expected.labels)


def test_a_gzipped_list(tmp_path: Path, tiny_tokenizer: HubTokenizer) -> None:
    source = tmp_path / "in.json.gz"
    source.write_bytes(gzip.compress(json.dumps([SHAREGPT, OPENAI]).encode()))
    tokenize_file(source, tmp_path / "out.jsonl", SOCRATIC, tiny_tokenizer)
    assert [row["id"] for row in rows_of(tmp_path / "out.jsonl")] == ["a", "2"]


def test_rows_without_any_label_are_written_and_counted(tmp_path: Path, tiny_tokenizer: HubTokenizer) -> None:
    source = write_lines(tmp_path / "in.jsonl", {"conversations": []}, {"conversations": SHAREGPT["conversations"][:1]})
    counts = tokenize_file(source, tmp_path / "out.jsonl", PLATOLM, tiny_tokenizer)
    assert (counts.rows, counts.all_masked, counts.labelled_tokens) == (2, 2, 0)
    assert len(rows_of(tmp_path / "out.jsonl")) == 2


def test_broken_records_are_named_and_nothing_is_written(tmp_path: Path, tiny_tokenizer: HubTokenizer) -> None:
    broken = {"conversations": [{"from": "human"}]}
    source = write_lines(tmp_path / "in.jsonl", SHAREGPT, "{broken", broken, '{"conversations": "\\ud83d"}')
    with pytest.raises(RecordsError, match="3 unusable records, nothing written") as caught:
        tokenize_file(source, tmp_path / "out.jsonl", SOCRATIC, tiny_tokenizer)
    assert [bad.number for bad in caught.value.bad_lines] == [2, 3, 4]
    assert os.listdir(tmp_path) == ["in.jsonl"]


def test_an_earlier_output_survives_a_failure(tmp_path: Path, tiny_tokenizer: HubTokenizer) -> None:
    (tmp_path / "out.jsonl").write_text("old")
    with pytest.raises(RecordsError):
        tokenize_file(write_lines(tmp_path / "in.jsonl", "{broken"), tmp_path / "out.jsonl", SOCRATIC, tiny_tokenizer)
    assert (tmp_path / "out.jsonl").read_text() == "old"


def test_broken_records_can_be_left_out(tmp_path: Path, tiny_tokenizer: HubTokenizer) -> None:
    source = write_lines(tmp_path / "in.jsonl", "{broken", SHAREGPT)
    counts = tokenize_file(source, tmp_path / "out.jsonl", SOCRATIC, tiny_tokenizer, skip_bad=True)
    assert [bad.number for bad in counts.bad_lines] == [1]
    assert [row["id"] for row in rows_of(tmp_path / "out.jsonl")] == ["a"]


def test_the_input_is_never_overwritten(tmp_path: Path, tiny_tokenizer: HubTokenizer) -> None:
    source = write_lines(tmp_path / "in.jsonl", SHAREGPT)
    with pytest.raises(InputError, match="is the input"):
        tokenize_file(source, source, SOCRATIC, tiny_tokenizer)


def test_a_missing_input(tmp_path: Path, tiny_tokenizer: HubTokenizer) -> None:
    with pytest.raises(InputError, match="no such file"):
        tokenize_file(tmp_path / "no.jsonl", tmp_path / "out.jsonl", SOCRATIC, tiny_tokenizer)
    assert os.listdir(tmp_path) == []


def spelled(tokenizer: HubTokenizer, text: str) -> list[int]:
    """Ids of a text letter by letter: as a model may generate it, and as no encoder would write it."""
    return [i for letter in text for i in tokenizer.encode(letter)]


def test_a_runs_segments_keep_the_ids_that_were_generated(tmp_path: Path, tiny_tokenizer: HubTokenizer) -> None:
    said = spelled(tiny_tokenizer, "How are you?")
    assert said != tiny_tokenizer.encode("How are you?")
    turns = [{"token_ids": None}, {"token_ids": said}, {"token_ids": spelled(tiny_tokenizer, "another text")}]
    segment = tmp_path / "segment.jsonl.zst"
    segment.write_bytes(compress_records([{**SHAREGPT, "turns": turns}]))
    for profile, content_ids in ((PLATOLM, said), (SOCRATIC, None)):
        tokenize_file(segment, tmp_path / "out.jsonl", profile, tiny_tokenizer)
        expected = compose(
            [DIALOGUE[0], Turn(ASSISTANT, "How are you?", content_ids), DIALOGUE[2]], profile, tiny_tokenizer
        )
        assert rows_of(tmp_path / "out.jsonl")[0]["input_ids"] == expected.input_ids


@pytest.mark.parametrize("ids", [[-1], ["x"], [2], [10**12], "no list", None])
def test_recorded_ids_that_do_not_fit_are_not_used(tmp_path: Path, tiny_tokenizer: HubTokenizer, ids: object) -> None:
    source = write_lines(tmp_path / "in.jsonl", {**SHAREGPT, "turns": [{"token_ids": ids}] * 3})
    tokenize_file(source, tmp_path / "out.jsonl", SOCRATIC, tiny_tokenizer)
    assert rows_of(tmp_path / "out.jsonl")[0]["input_ids"] == compose(DIALOGUE, SOCRATIC, tiny_tokenizer).input_ids


def test_a_damaged_zstd_file_is_one_clear_error(tmp_path: Path, tiny_tokenizer: HubTokenizer) -> None:
    source = tmp_path / "in.jsonl.zst"
    source.write_bytes(b"no zstd at all")
    with pytest.raises(InputError, match="cannot be read"):
        tokenize_file(source, tmp_path / "out.jsonl", SOCRATIC, tiny_tokenizer)
