"""UserLM's measures: intents, and ends that were predicted."""

from __future__ import annotations

import pytest

from curation.stats.userlm import ends_of, intent_of, jaccard, mean_overlap
from tests.unit.curation.stats.records import dialogue


def test_an_intent_is_the_records_or_the_runs() -> None:
    assert intent_of({"intent": "You want bread"}) == "You want bread"
    assert intent_of({"seed_mode": "intent", "simulator": {"system_prompt": "You want tea"}}) == "You want tea"


@pytest.mark.parametrize(
    "fields", [{}, {"intent": " "}, {"intent": 3}, {"seed_mode": "free", "simulator": {"system_prompt": "Be short"}}]
)
def test_without_one_there_is_none(fields: dict[str, object]) -> None:
    assert intent_of(fields) is None


def test_overlap_is_over_the_words_of_both() -> None:
    assert jaccard({"a", "b", "c"}, {"b", "c", "d"}) == 0.5
    assert jaccard(set(), set()) == 0.0


def test_only_the_users_turns_with_words_are_compared() -> None:
    messages = dialogue("I want bread", "bread it is", "...", "yes", "Thanks").messages
    total, count = mean_overlap(messages, "You want bread")
    assert total == pytest.approx(0.5)  # 2 of 4, 0 of 4
    assert count == 2
    assert mean_overlap(messages, None) == (0.0, 0)


def test_ends_are_counted_where_a_turn_carries_both() -> None:
    told = [(True, True), (True, False), (False, True), (False, False), (True, None)]
    turns = [{"end_predicted": said, "end_actual": was} for said, was in told]
    assert ends_of({"turns": [*turns, {"num_tokens": 3}, None]}) == (1, 2, 2)
    assert ends_of({"turns": "none"}) == ends_of({}) == (0, 0, 0)
