"""The demo data's rules: cleaning, leaving out, and a split that no opening straddles."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from platolm.conversation import ASSISTANT, USER, Conversation, Message
from platolm.errors import InputError
from training.sources import (
    DEMO_SOURCES,
    Source,
    Split,
    opening_fraction,
    read_demo_dialogues,
    split_of,
    tidied,
    unusable_reason,
)

ALLOWED_LICENCES = {"MIT", "Apache-2.0", "Unlicense", "CC BY 4.0"}


def conversation(*texts: str) -> Conversation:
    return Conversation("x", tuple(Message((USER, ASSISTANT)[i % 2], text) for i, text in enumerate(texts)))


def record(identifier: str, *texts: str) -> dict[str, Any]:
    turns = [{"from": ("human", "gpt")[i % 2], "value": text} for i, text in enumerate(texts)]
    return {"id": identifier, "conversations": turns}


def test_every_source_has_an_allowed_licence_and_an_attribution() -> None:
    assert {source.licence for source in DEMO_SOURCES} <= ALLOWED_LICENCES
    assert all(source.attribution and source.title for source in DEMO_SOURCES)


def test_the_split_is_the_openings_alone_and_the_same_everywhere() -> None:
    first = conversation("How do I bake bread?", "Slowly.")
    again = conversation("  how do I bake BREAD ", "Quickly.", "Really?", "No.")
    assert opening_fraction(first) == opening_fraction(again) == pytest.approx(0.249045, abs=1e-6)
    assert split_of(first) is split_of(again)


def test_the_splits_have_about_the_shares_asked_for() -> None:
    splits = [split_of(conversation(f"Question number {i}?", "Yes.")) for i in range(4000)]
    assert splits.count(Split.HELD_OUT) / 4000 == pytest.approx(0.06, abs=0.01)
    assert splits.count(Split.VALIDATION) / 4000 == pytest.approx(0.03, abs=0.01)


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("Hi", "Hello"), None),
        (("Hi", "Hello", "Why?"), None),
        (("Hi",), "roles do not alternate from the user"),
        (("Hi", "", "Why?"), "empty turn"),
        (("¿Qué? ¿Cómo está usted, señor?", "Así así"), "not English"),
        (("How is cocaine made?", "No."), "topic unfit for a first impression"),
    ],
)
def test_what_is_left_out(texts: tuple[str, ...], reason: str | None) -> None:
    assert unusable_reason(conversation(*texts)) == reason


def test_a_dialogue_that_the_assistant_opens_is_left_out() -> None:
    turned = Conversation("x", (Message(ASSISTANT, "Hi"), Message(USER, "Hello")))
    assert unusable_reason(turned) == "roles do not alternate from the user"


def test_typography_is_made_plain() -> None:
    assert (
        tidied(conversation(" It’s “so”… ", "Yes\u00a0!")).messages == conversation('It\'s "so"...', "Yes !").messages
    )


def test_every_file_form_is_read_and_everything_is_counted(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(r) for r in [record("1", "Hi", "Hello"), {"id": "2"}, record("3", "Hi")])
    (tmp_path / "a.jsonl").write_text(lines + "\n\n", encoding="utf-8")
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(json.dumps(record("4", "Bye", "See you")).encode()))
    (tmp_path / "c.json").write_text(json.dumps([record("5", "Tea", "Here")]), encoding="utf-8")
    sources = [Source(name, name, "MIT", "us") for name in ("a.jsonl", "b.jsonl.gz", "c.json")]
    dialogues = read_demo_dialogues(tmp_path, sources)
    assert dialogues.used == {"a.jsonl": 1, "b.jsonl.gz": 1, "c.json": 1}
    assert dialogues.dropped == {"not a conversation": 1, "roles do not alternate from the user": 1}
    assert sorted(c.id for split in Split for c in dialogues.by_split[split]) == ["1", "4", "5"]


def test_a_share_keeps_that_part_of_the_openings(tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(record(str(i), f"Order {i}", "Done")) for i in range(400))
    (tmp_path / "a.jsonl").write_text(lines, encoding="utf-8")
    dialogues = read_demo_dialogues(tmp_path, [Source("a.jsonl", "orders", "MIT", "us", share=0.25)])
    assert 70 <= dialogues.used["a.jsonl"] <= 130
    assert dialogues.dropped["down-weighted source"] == 400 - dialogues.used["a.jsonl"]


def test_a_missing_or_broken_file_is_named(tmp_path: Path) -> None:
    source = Source("a.jsonl", "", "MIT", "")
    with pytest.raises(InputError, match=r"a\.jsonl is missing: give the folder"):
        read_demo_dialogues(tmp_path, [source])
    (tmp_path / "a.jsonl").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="is not JSON"):
        read_demo_dialogues(tmp_path, [source])
