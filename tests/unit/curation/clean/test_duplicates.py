"""Digests and signatures: what is equal, what is nearly, and that the work is linear."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest

from curation.clean.duplicates import (
    NUM_BANDS,
    NUM_VALUES,
    SHINGLE_WORDS,
    digest_of,
    near_repeats,
    shingles_of,
    signatures_of,
)
from platolm.conversation import ASSISTANT, USER, Message

VOCABULARY = [f"word{n}" for n in range(3000)]


def said(text: str, role: str = USER) -> list[Message]:
    return [Message(role, text)]


def sentence(seed: int, count: int = 300) -> list[str]:
    return random.Random(seed).choices(VOCABULARY, k=count)


def jaccard(a: list[Message], b: list[Message]) -> float:
    """Of the shingles, exactly."""
    first, second = set(shingles_of(a).tolist()), set(shingles_of(b).tolist())
    return len(first & second) / len(first | second)


def test_a_digest_knows_roles_texts_and_where_a_turn_ends() -> None:
    dialogue = [Message(USER, "ab"), Message(ASSISTANT, "c")]
    assert digest_of(dialogue) == digest_of(list(dialogue))
    others = [
        [Message(ASSISTANT, "ab"), Message(ASSISTANT, "c")],
        [Message(USER, "a"), Message(ASSISTANT, "bc")],
        [Message(USER, "abc")],
        [*dialogue, Message(USER, "")],
    ]
    assert len({digest_of(one) for one in [dialogue, *others]}) == 5


def test_a_digest_is_the_same_on_every_machine() -> None:
    assert digest_of(said("swallow")).hex() == "0597630633e31e7bcc06e28843a93782"


def test_signatures_are_the_same_on_every_machine() -> None:
    signature = signatures_of([said("the swallow flies to Africa in the winter, all of them")])
    assert signature[0, [0, 1, 127]].tolist() == [3262588077, 3229252538, 3335374361]


def test_shingles_are_of_words_within_one_turn() -> None:
    turns = [Message(USER, "a b c d e f"), Message(ASSISTANT, "g")]
    assert len(shingles_of(turns)) == (7 - SHINGLE_WORDS + 1) + 1  # the role is a word of each turn
    assert set(shingles_of(turns).tolist()) == {
        *shingles_of(turns[:1]).tolist(),
        *shingles_of(turns[1:]).tolist(),
    }


def test_a_question_is_no_answer_of_the_same_words() -> None:
    assert jaccard(said("who is there"), said("who is there", ASSISTANT)) == 0
    long = " ".join(sentence(1))
    assert jaccard(said(long), said(long, ASSISTANT)) == 0
    assert jaccard(said("a b c d e f"), [Message(USER, "a b c"), Message(USER, "d e f")]) == 0


def test_case_and_spaces_are_the_same_text() -> None:
    assert jaccard(said("The swallow flies  south.\n"), said("the SWALLOW flies south.")) == 1


def test_characters_are_words_where_there_are_no_spaces() -> None:
    text = "燕子在冬天飞到非洲去过冬天气很暖和"
    assert len(shingles_of(said(text))) == len(text) + 1 - SHINGLE_WORDS + 1


@pytest.mark.parametrize("messages", [[], said(""), said("?")])
def test_next_to_nothing_has_a_signature(messages: list[Message]) -> None:
    assert signatures_of([messages]).shape == (1, NUM_VALUES)


def test_signatures_estimate_the_share_of_equal_shingles() -> None:
    for changed in (5, 20, 60):
        words = sentence(1, 1000)
        other = list(words)
        for place in random.Random(changed).sample(range(1000), changed):
            other[place] = "another"
        pair = [said(" ".join(words)), said(" ".join(other))]
        rows = signatures_of(pair)
        assert np.mean(rows[0] == rows[1]) == pytest.approx(jaccard(*pair), abs=0.12)


def changed(words: list[str], share: float, seed: int) -> list[str]:
    """The words with so many of them replaced, wherever they stand."""
    drawn = random.Random(seed)
    other = list(words)
    for place in drawn.sample(range(len(words)), round(share * len(words))):
        other[place] = f"other{drawn.randrange(1000)}"
    return other


def test_planted_near_duplicates_are_found_and_nothing_else_is() -> None:
    """Of copies that share over 85 % of their shingles every one, of those that share under 70 % none."""
    dialogues: list[list[Message]] = []
    planted, others = {}, set()
    for number in range(400):
        words = sentence(number, 200 + number)
        dialogues.append([Message(USER, " ".join(words[:50])), Message(ASSISTANT, " ".join(words[50:]))])
        if number % 2 == 0:
            words = changed(words, (0.003, 0.01, 0.06, 0.2)[number // 2 % 4], number)
            dialogues.append([Message(USER, " ".join(words[:50])), Message(ASSISTANT, " ".join(words[50:]))])
            likeness = jaccard(dialogues[-2], dialogues[-1])
            if likeness > 0.88:
                planted[len(dialogues) - 1] = len(dialogues) - 2
            elif likeness < 0.7:
                others.add(len(dialogues) - 1)
    found = {repeat.position: repeat.of for repeat in near_repeats(signatures_of(dialogues), 0.8)}
    assert (len(planted) > 80, len(others) > 80) == (True, True)
    assert {position: found.get(position) for position in planted} == planted
    assert others & set(found) == set()
    assert all(of == position - 1 for position, of in found.items())


def test_the_first_stays_and_all_later_ones_name_it() -> None:
    dialogues = [said(" ".join([*sentence(1), f"end{n}"])) for n in range(20)]
    found = list(near_repeats(signatures_of(dialogues), 0.8))
    assert [(repeat.position, repeat.of) for repeat in found] == [(n, 0) for n in range(1, 20)]
    assert all(repeat.similarity > 0.95 for repeat in found)


def test_what_repeats_only_a_repeat_stays() -> None:
    """A chain of small changes does not drift: each is compared with those that stayed."""
    words = sentence(1, 400)
    dialogues = []
    for step in range(12):
        words[12 * step : 12 * step + 12] = sentence(100 + step, 12)
        dialogues.append(said(" ".join(words)))
    kept = set(range(12)) - {repeat.position for repeat in near_repeats(signatures_of(dialogues), 0.8)}
    assert 1 not in kept
    assert 3 <= len(kept) <= 5


def test_a_row_is_compared_with_few_others_whatever_the_data() -> None:
    """All rows agree in one band, and in nothing else: there the first alone is asked. All pairs would take minutes."""
    num_rows = 30_000
    rows = np.random.default_rng(1).integers(0, 2**32, (num_rows, NUM_VALUES), dtype=np.uint32)
    rows[:, : NUM_VALUES // NUM_BANDS] = 7
    rows[num_rows - 1] = rows[num_rows // 2]
    began = time.process_time()
    found = [(repeat.position, repeat.of) for repeat in near_repeats(rows, 0.8)]
    assert found == [(num_rows - 1, num_rows // 2)]
    assert time.process_time() - began < 20


def test_nothing_has_no_repeats() -> None:
    assert list(near_repeats(signatures_of([]), 0.8)) == []
