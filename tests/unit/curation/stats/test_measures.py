"""Which sums make which figure, on conversations small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest

from curation.dialogue import Dialogue
from curation.stats.figures import Figure
from curation.stats.intervals import ResampledSums, weights
from curation.stats.measures import BY_KEY, MEASURES, Column, carried_counts, figures_of, row_of
from platolm.conversation import SYSTEM, Message
from platolm.realism import observe
from tests.unit.curation.stats.records import counts, dialogue


def figures(*dialogues: Dialogue) -> dict[str, Figure]:
    rows = [row_of(one, observe(one.messages), carried_counts(one)) for one in dialogues]
    sums = ResampledSums(len(Column))
    sums.add(np.array(rows, dtype=float), weights((1,), len(rows)))
    return figures_of(sums)


def test_tokens_are_a_mean_over_utterances_and_over_conversations() -> None:
    found = figures(
        dialogue("a", "b", turns=counts(10, 20)),
        dialogue("a", "b", "c", "d", turns=counts(1, 2, 3, 6)),
        dialogue("a", "b"),
    )
    assert found["tokens_utterance"].value == pytest.approx(42 / 6)
    assert found["tokens_conversation"].value == 21
    assert (found["tokens_utterance"].count, found["tokens_conversation"].count) == (6, 2)
    assert found["rounds"].value == pytest.approx(4 / 3)
    assert found["rounds"].count == 3


def test_without_counts_it_says_what_to_give() -> None:
    tokens = figures(dialogue("a", "b"))["tokens_utterance"]
    assert tokens.value is None
    assert tokens.lacking == BY_KEY["tokens_utterance"].lacking
    assert "--tokenizer" in BY_KEY["tokens_utterance"].lacking


def test_precision_recall_and_f1() -> None:
    turns = [
        {"end_predicted": True, "end_actual": True},
        {"end_predicted": True, "end_actual": False},
        {"end_predicted": True, "end_actual": False},
        {"end_predicted": False, "end_actual": True},
    ]
    found = figures(dialogue("a", "b", "c", "d", turns=turns))
    values = [found[f"end_{name}"].value for name in ("precision", "recall", "f1")]
    assert values == [pytest.approx(100 / 3), 50, pytest.approx(40)]


def test_shares_are_of_user_turns() -> None:
    found = figures(dialogue("tell me a story", "x", "tell me a story", "y", "I hope this helps", "z", "ok", "."))
    assert (found["repeats"].value, found["role_slips"].value) == (25, 25)
    assert found["user_words"].value == pytest.approx(13 / 4)


def test_intent_overlap_is_a_percentage_of_turns() -> None:
    found = figures(dialogue("I want bread", "ok", intent="You want bread"), dialogue("no intent", "ok"))
    assert found["intent_overlap"].value == pytest.approx(50)
    assert found["intent_overlap"].count == 1


def test_counts_that_are_carried_must_be_of_every_turn() -> None:
    assert carried_counts(dialogue("a", "b", turns=counts(3, 4))) == [3, 4]
    assert carried_counts(dialogue("a", "b", turns=counts(3))) is None
    assert carried_counts(dialogue("a", "b", turns=[{"num_tokens": 3}, {}])) is None
    assert carried_counts(dialogue("a", "b")) is None


def test_counts_of_other_roles_are_left_out() -> None:
    with_system = Dialogue("d", (Message(SYSTEM, "s"), *dialogue("a", "b").messages), fields={"turns": counts(9, 3, 4)})
    assert carried_counts(with_system) == [3, 4]


def test_every_measure_has_its_own_key() -> None:
    assert len(BY_KEY) == len(MEASURES)
