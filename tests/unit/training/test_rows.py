"""Rows: masks stay exact through cutting and joining, and what is left out is counted."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, USER, Conversation, Message
from platolm.dyadic import IGNORE_INDEX, PLATOLM, SOCRATIC, Turn
from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.rows import (
    augmented,
    build_both_sides,
    build_rows,
    cut_before_long_turn,
    encode_turns,
    join_dialogues,
)


@pytest.fixture
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


def dialogue(tokenizer: HubTokenizer, *texts: str) -> list[Turn]:
    roles = (USER, ASSISTANT) * len(texts)
    messages = tuple(Message(role, text) for role, text in zip(roles, texts, strict=False))
    return encode_turns(Conversation("x", messages), tokenizer)


def labelled_text(tokenizer: HubTokenizer, labels: list[int]) -> str:
    """Decoded labels, with `<` and `>` for bos and eos."""
    kept = [label for label in labels if label != IGNORE_INDEX]
    marks = {tokenizer.bos_id: "<", tokenizer.eos_id: ">"}
    return "".join(marks.get(label) or tokenizer.decode([label]) for label in kept)


def test_a_dialogue_is_cut_before_the_first_turn_over_its_roles_limit(tokenizer: HubTokenizer) -> None:
    turns = dialogue(tokenizer, "short", "a longer answer", "more", "ok")
    assert cut_before_long_turn(turns, {USER: 5, ASSISTANT: 15}) == turns
    assert cut_before_long_turn(turns, {USER: 5, ASSISTANT: 14}) == turns[:1]
    assert cut_before_long_turn(turns, {USER: 4}) == []
    assert cut_before_long_turn(turns, {}) == turns


def test_rows_label_one_side_and_end_at_its_last_label(tokenizer: HubTokenizer) -> None:
    turns = dialogue(tokenizer, "Hi", "Hello", "Why?", "Because")
    rows = build_rows([turns], SOCRATIC, tokenizer, max_length=1024)
    assert labelled_text(tokenizer, rows.rows[0].labels) == "<Hi><Why?>"
    assert rows.rows[0].labels[-1] == tokenizer.eos_id
    assert rows.num_labels == len("Hi") + len("Why?") + 4
    assert rows.num_tokens == len(rows.rows[0].input_ids)


def test_all_masked_rows_are_dropped_and_counted(tokenizer: HubTokenizer) -> None:
    lone_question = dialogue(tokenizer, "Anyone?")
    rows = build_rows([lone_question, [], dialogue(tokenizer, "Hi", "Hello")], PLATOLM, tokenizer, max_length=1024)
    assert len(rows.rows) == 1
    assert rows.num_all_masked == 2
    assert rows.num_conversations == 3


def test_both_sides_are_labelled_for_the_base(tokenizer: HubTokenizer) -> None:
    turns = dialogue(tokenizer, "Hi", "Hello", "Why?")
    rows = build_both_sides([turns, []], PLATOLM, tokenizer, max_length=1024)
    assert labelled_text(tokenizer, rows.rows[0].labels) == "<Hi><Hello><Why?>"
    assert rows.num_all_masked == 1


def test_joining_keeps_order_alternation_and_every_whole_round(tokenizer: HubTokenizer) -> None:
    dialogues = [dialogue(tokenizer, f"q{i}", f"a{i}", "dangling") for i in range(5)]
    joined = list(join_dialogues(dialogues, 20))
    assert [turn.content for turns in joined for turn in turns] == [
        text for i in range(5) for text in (f"q{i}", f"a{i}")
    ]
    for turns in joined:
        assert [turn.role for turn in turns] == [USER, ASSISTANT] * (len(turns) // 2)
    assert len(joined) == 3


def test_masks_of_a_joined_conversation_are_exact(tokenizer: HubTokenizer) -> None:
    (joined,) = join_dialogues([dialogue(tokenizer, "Hi", "Hello"), dialogue(tokenizer, "New?", "Yes")], 10_000)
    user = build_rows([joined], SOCRATIC, tokenizer, max_length=1024).rows[0]
    assistant = build_rows([joined], PLATOLM, tokenizer, max_length=1024).rows[0]
    assert labelled_text(tokenizer, user.labels) == "<Hi><New?>"
    assert labelled_text(tokenizer, assistant.labels) == "<Hello><Yes>"
    assert all(label in (IGNORE_INDEX, i) for row in (user, assistant) for i, label in zip(row.input_ids, row.labels,
                                                                                            strict=True))  # fmt: skip


def test_a_joined_row_fills_the_context_and_no_more(tokenizer: HubTokenizer) -> None:
    dialogues = [dialogue(tokenizer, "question " * 5, "answer " * 5) for _ in range(30)]
    joined = next(join_dialogues(dialogues, 1000))
    row = build_both_sides([joined], SOCRATIC, tokenizer, max_length=1024).rows[0]
    assert len(row.input_ids) == 1024


def test_a_pass_holds_every_dialogue_once_and_its_order_hangs_on_the_seed(tokenizer: HubTokenizer) -> None:
    dialogues = [dialogue(tokenizer, f"q{i}", f"a{i}") for i in range(20)]

    def one_pass(seed: int) -> list[list[str]]:
        conversations = augmented(dialogues, join_share=0.5, num_tokens=30, rng=random.Random(seed))
        return [[turn.content for turn in turns] for turns in conversations]

    assert sorted(text for turns in one_pass(1) for text in turns) == sorted(
        text for i in range(20) for text in (f"q{i}", f"a{i}")
    )
    assert one_pass(1) == one_pass(1) != one_pass(2)
    assert any(len(turns) > 2 for turns in one_pass(1))
    assert sum(len(turns) == 2 for turns in one_pass(1)) >= 10
