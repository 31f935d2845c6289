"""One chunk: who is held out, who is skipped, and what is written."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from platolm.conversation import USER
from platolm.errors import BadLine
from platolm.tokenizer import HubTokenizer
from tests.unit.training.data.records import labelled_text, record
from training.data.building import ChunkBuilder
from training.data.reading import Chunk, Entry
from training.data.report import DataReport, SkipReason
from training.data.row_files import mapped_rows
from training.recipes.recipe import Data, Side


def build(folder: Path, tokenizer: HubTokenizer, side: Side, *records: Any, **settings: Any) -> DataReport:
    entries = [Entry("talks.jsonl", line, one) for line, one in enumerate(records, start=1)]
    settings = {"max_length": 1024, "held_out_share": 0.0, **settings}
    return ChunkBuilder(Data(**settings), side, tokenizer, folder).build(Chunk(3, entries, 0))


def texts(folder: Path, tokenizer: HubTokenizer, name: str = "train") -> list[str]:
    return [labelled_text(tokenizer, labels) for labels in mapped_rows(folder, name)["labels"]]


def test_every_skip_is_counted_with_its_place(tmp_path: Path, byte_tokenizer: HubTokenizer) -> None:
    report = build(
        tmp_path,
        byte_tokenizer,
        Side.SOCRATIC,
        BadLine(1, "not JSON: nothing"),
        record("Hi", "Hello"),
        {"messages": "none"},
        record("", "Hello"),
        {"messages": [{"role": "assistant", "content": "Alone"}]},
        record("much too long", "Hello"),
        {"messages": [{"role": "system", "content": "x" * 2000}, {"role": "user", "content": "Hi"}]},
        turn_limits={USER: 12},
    )
    places = {reason: [example.line for example in some.examples] for reason, some in report.skipped.items()}
    assert places == {
        SkipReason.NOT_JSON: [1],
        SkipReason.NOT_A_CONVERSATION: [3],
        SkipReason.EMPTY_TURN: [4],
        SkipReason.NOTHING_TO_LEARN: [5],
        SkipReason.LONG_TURN: [6],
        SkipReason.LONG_HEADER: [7],
    }
    assert (report.num_read, report.num_used, report.num_skipped, report.train.num_rows) == (7, 1, 6, 1)
    assert texts(tmp_path, byte_tokenizer) == ["<Hi>"]


def test_a_long_reason_is_cut_short(tmp_path: Path, byte_tokenizer: HubTokenizer) -> None:
    report = build(tmp_path, byte_tokenizer, Side.SOCRATIC, BadLine(1, "x" * 5000), record("Hi"))
    assert len(report.skipped[SkipReason.NOT_JSON].examples[0].detail) == 160


def test_held_out_openings_are_apart_never_joined_and_written_once(
    tmp_path: Path, byte_tokenizer: HubTokenizer
) -> None:
    records = [record(f"Question {i % 40}", f"Answer {i}") for i in range(80)]
    settings = {"held_out_share": 0.4, "join_share": 1.0, "arrangements": 3}
    report = build(tmp_path, byte_tokenizer, Side.PLATOLM, *records, **settings)
    train, held_out = (texts(tmp_path, byte_tokenizer, name) for name in ("train", "held_out"))
    assert report.held_out.num_conversations == report.held_out.num_rows == len(held_out)
    assert len(held_out) == 48  # 24 of the 40 openings
    assert report.train.num_conversations == 80 - len(held_out)
    assert all(text.count("<") == 1 for text in held_out)
    assert max(text.count("<") for text in train) == 20
    openings = [{int(number) % 40 for number in re.findall(r"\d+", "".join(some))} for some in (train, held_out)]
    assert openings[0] | openings[1] == set(range(40))
    assert not openings[0] & openings[1]
    assert sum(text.count("<") for text in train) == 3 * report.train.num_conversations


def test_dialogues_with_other_roles_are_joined_too(tmp_path: Path, byte_tokenizer: HubTokenizer) -> None:
    call = [("human", "Sum?"), ("function_call", "{}"), ("observation", "3"), ("gpt", "Three.")]
    called = {"conversations": [{"from": name, "value": value} for name, value in call]}
    for number, side in enumerate(Side):
        folder = tmp_path / side
        folder.mkdir()
        report = build(folder, byte_tokenizer, side, called, called, record("Hi", "Hello"), join_share=1.0)
        assert (report.num_used, report.train.num_rows) == (3, 1)
        assert texts(folder, byte_tokenizer)[0].count("<") == (3, 3, 6)[number]
        row = byte_tokenizer.decode(mapped_rows(folder, "train")["input_ids"][0])
        assert "Function_call: {}Observation: 3Assistant: Three." in row or side is Side.SOCRATIC


def test_ended_early_is_counted_once_for_each_conversation(tmp_path: Path, byte_tokenizer: HubTokenizer) -> None:
    records = [record("Hi", "Hello", "", "So"), record("One", "Two" * 30, "Three"), record("Hi", "Hello")]
    report = build(tmp_path, byte_tokenizer, Side.SOCRATIC, *records, turn_limits={"assistant": 50})
    assert report.num_ended_early == 2
    assert texts(tmp_path, byte_tokenizer) == ["<Hi>", "<One>", "<Hi>"]


def test_both_sides_are_learned_under_alternating_headers(tmp_path: Path, byte_tokenizer: HubTokenizer) -> None:
    report = build(tmp_path, byte_tokenizer, Side.BOTH, record("Hi", "Hello"), record("Tea?", "Here."))
    rows = mapped_rows(tmp_path, "train")
    assert texts(tmp_path, byte_tokenizer) == ["<Hi><Hello>", "<Tea?><Here.>"]
    heads = [byte_tokenizer.decode(ids) for ids in rows["input_ids"]]
    assert ["brand new questions" in head for head in heads] == [True, False]
    assert ["detailed, and polite" in head for head in heads] == [False, True]
    assert report.train.num_labels == sum(rows["num_labels"])
    assert report.train.num_tokens == sum(rows["length"])


def test_a_gigantic_turn_is_cut_to_a_row(tmp_path: Path, byte_tokenizer: HubTokenizer) -> None:
    report = build(tmp_path, byte_tokenizer, Side.SOCRATIC, record("x" * 300_000, "y" * 300_000, "z"))
    assert mapped_rows(tmp_path, "train")["length"][:] == [1024, 1024]
    assert (report.train.num_cut_turns, report.train.num_shortened_turns, report.train.num_split) == (1, 1, 1)
    assert texts(tmp_path, byte_tokenizer)[1] == "<z>"
