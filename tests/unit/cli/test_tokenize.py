"""`platolm tokenize` as a real process."""

from __future__ import annotations

import json
import os
from pathlib import Path

from platolm.conversation import USER, Message
from platolm.dyadic import SOCRATIC, compose
from platolm.tokenizer import HubTokenizer
from tests.unit.cli.conftest import RunCommand

RECORD = {"id": "a", "conversations": [{"from": "human", "value": "Hello </s>"}]}


async def test_rows_on_disk_and_counts_on_stderr(
    platolm: RunCommand, tiny_tokenizer: HubTokenizer, tiny_tokenizer_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps(RECORD) + "\n")
    result = await platolm(
        *("tokenize", "--profile", "socratic", "--tokenizer", tiny_tokenizer_folder, "in.jsonl", "--out", "out.jsonl")
    )
    assert result.code == 0, result.stderr
    expected = compose([Message(USER, "Hello </s>")], SOCRATIC, tiny_tokenizer)
    assert json.loads((tmp_path / "out.jsonl").read_text()) == {
        "id": "a",
        "input_ids": expected.input_ids,
        "labels": expected.labels,
    }
    assert result.stdout == ""
    assert f"1 rows, {len(expected.input_ids)} tokens" in result.stderr


async def test_options_reach_the_mask(
    platolm: RunCommand, tiny_tokenizer: HubTokenizer, tiny_tokenizer_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps(RECORD) + "\n")
    options = ("--max-length", "90", "--no-bos-in-loss", "--profile", "socratic")
    await platolm("tokenize", *options, "--tokenizer", tiny_tokenizer_folder, "in.jsonl", "--out", "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text())
    expected = compose([Message(USER, "Hello </s>")], SOCRATIC, tiny_tokenizer, max_length=90, bos_in_loss=False)
    assert row["labels"] == expected.labels


async def test_a_broken_record_is_exit_2_with_its_line_and_nothing_written(
    platolm: RunCommand, tiny_tokenizer_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text(json.dumps(RECORD) + "\n{broken\n")
    arguments = (
        "tokenize",
        "--profile",
        "platolm",
        "--tokenizer",
        tiny_tokenizer_folder,
        "in.jsonl",
        "--out",
        "o.jsonl",
    )
    result = await platolm(*arguments)
    assert result.code == 2
    assert "line 2: not JSON" in result.stderr
    assert "Traceback" not in result.stderr
    assert os.listdir(tmp_path) == ["in.jsonl"]
    assert (await platolm(*arguments, "--skip-bad")).code == 0
    assert len((tmp_path / "o.jsonl").read_text().splitlines()) == 1


async def test_a_folder_without_a_tokenizer_is_exit_2(platolm: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("")
    result = await platolm(
        *("tokenize", "--profile", "platolm", "--tokenizer", tmp_path, "in.jsonl", "--out", "out.jsonl")
    )
    assert result.code == 2
    assert "holds no tokenizer.json" in result.stderr


async def test_an_unknown_profile_is_exit_2(platolm: RunCommand, tmp_path: Path) -> None:
    result = await platolm("tokenize", "--profile", "plato", "--tokenizer", tmp_path, "in.jsonl", "--out", "out.jsonl")
    assert result.code == 2
    assert "plato" in result.stderr
