"""The first stage: which dialogues are used, on which side of the split, and what is counted."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.conversation import Conversation, from_sharegpt
from platolm.errors import BadLine, InputError
from tests.unit.training.loop.conftest import NUM_DIALOGUES
from training.loop import clean as clean_module
from training.loop.clean import clean, usable_dialogue
from training.loop.folder import Stage, open_loop
from training.loop.recipe import LoopRecipe, Test
from training.sources import opening_fraction


def sharegpt(*turns: str) -> dict[str, Any]:
    """Turns as `name: text`."""
    pairs = (turn.split(": ", 1) for turn in turns)
    return {"conversations": [{"from": name, "value": text} for name, text in pairs]}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (BadLine(1, "broken"), "not JSON"),
        ({"question": "Why?"}, "not a conversation"),
        (sharegpt("gpt: Hello!", "human: Hi"), "roles do not alternate from the user"),
        (sharegpt("human: One", "human: Two", "gpt: Three"), "roles do not alternate from the user"),
        (sharegpt("human: One", "system: Two", "gpt: Three"), "roles do not alternate from the user"),
        (sharegpt("human: One", "tool: Two"), "roles do not alternate from the user"),
        (sharegpt("human: Alone"), "roles do not alternate from the user"),
        (sharegpt("system: Alone"), "roles do not alternate from the user"),
        (sharegpt("human: One", "gpt:  \n"), "empty turn"),
    ],
)
def test_what_is_left_out(record: Any, reason: str) -> None:
    assert usable_dialogue(record, default_id="x") == reason


def test_what_is_used_is_tidied_and_nothing_more() -> None:
    record = sharegpt("system: Be brief.", "human:  “Say” <b>it</b>\n", "gpt: def f():\n    return 1", "human: Más?")
    found = usable_dialogue(record, default_id="x")
    assert isinstance(found, Conversation)
    texts = [message.content for message in found.messages]
    assert texts == ["Be brief.", '"Say" <b>it</b>', "def f():\n    return 1", "Más?"]
    assert found.id == "x"


def test_every_record_is_kept_or_counted(data: Path, tmp_path: Path) -> None:
    openai = {"id": "own", "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    more = tmp_path / "more.json.gz"
    more.write_bytes(gzip.compress(json.dumps([openai, {"no": "dialogue"}, sharegpt("gpt: No")]).encode()))
    report = clean([str(data), str(more)], Test(share=0.2), tmp_path / "out")
    train, test = lines(tmp_path / "out" / "train.jsonl"), lines(tmp_path / "out" / "test.jsonl")
    assert (report.num_train, report.num_test) == (len(train), len(test))
    assert len(train) + len(test) == NUM_DIALOGUES + 1
    assert report.left_out == {"not a conversation": 1, "roles do not alternate from the user": 1}
    assert report.num_read == NUM_DIALOGUES + 3
    ids = [record["id"] for record in [*train, *test]]
    assert "own" in ids
    assert len(set(ids)) == len(ids)
    written = json.loads((tmp_path / "out" / "report.json").read_text())
    assert written == {**report.as_json(), "files": [str(data), str(more)]}


def test_the_split_hangs_on_the_opening_alone(data: Path, tmp_path: Path) -> None:
    test = Test(share=0.3)
    clean([str(data)], test, tmp_path / "out")
    for name, held_out in (("train.jsonl", False), ("test.jsonl", True)):
        for record in lines(tmp_path / "out" / name):
            assert (opening_fraction(from_sharegpt(record), salt=test.salt) < test.share) is held_out
    other = tmp_path / "other"
    clean([str(data)], Test(share=0.3, salt="another"), other)
    assert (other / "test.jsonl").read_text() != (tmp_path / "out" / "test.jsonl").read_text()


@given(st.text(max_size=30), st.sampled_from([str.upper, str.strip, lambda text: f"  {text}!"]))
def test_spellings_of_one_opening_are_on_one_side(opening: str, respelled: Any) -> None:
    def fraction(text: str) -> float | None:
        found = usable_dialogue(sharegpt(f"human: {text}", "gpt: Yes"), default_id="x")
        return opening_fraction(found) if isinstance(found, Conversation) else None

    if opening.upper().lower() != opening.lower():  # ß and its like
        return
    one, other = fraction(opening), fraction(respelled(opening))
    assert one is None or other is None or one == other


def test_nothing_on_one_side_is_an_error(data: Path, tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.jsonl"
    nothing.write_text('{"no": "dialogue"}\n')
    with pytest.raises(InputError, match=r"nothing to train on: 1 records read.*1 × not a conversation"):
        clean([str(nothing)], Test(), tmp_path / "out")
    with pytest.raises(InputError, match=r"test\.share"):
        clean([str(data)], Test(share=1e-9), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.jsonl"))


def test_as_a_process(tiny_loop: LoopRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open_loop(tmp_path / "loop", tiny_loop) as folder:
        assert clean_module.main(folder.path) == 0
        assert (folder.output(Stage.CLEAN) / "report.json").is_file()
    assert f"{NUM_DIALOGUES} records read" in capsys.readouterr().err
    assert clean_module.main(tmp_path) == 2
    assert "holds no loop.json" in capsys.readouterr().err
