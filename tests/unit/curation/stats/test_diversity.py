"""Diversity over pairs, against scipy and against going through all pairs."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist

from curation.stats import diversity
from curation.stats.diversity import first_turn_diversity, topic_similarity
from curation.stats.intervals import Estimate, weights
from platolm.mtld import words_of
from tests.unit.curation.stats.records import ends


def test_topic_similarity_is_scipys_mean_with_the_diagonal() -> None:
    embeddings = np.random.default_rng(1).normal(0.3, 1, (300, 48)).astype(np.float32)
    owners = [number // 3 for number in range(300)]
    found = topic_similarity(embeddings, owners, weights((1,), 100))
    expected = (1 - cdist(embeddings.astype(float), embeddings.astype(float), "cosine")).mean()
    assert found.value == pytest.approx(expected, abs=1e-6)
    low, high = ends(found)
    assert low < found.value < high


def test_equal_questions_are_one_topic() -> None:
    found = topic_similarity(np.ones((4, 3)), [0, 0, 1, 2], weights((1,), 3))
    assert [found.value, *ends(found)] == pytest.approx([1, 1, 1])


def test_a_vector_without_length_is_like_nothing() -> None:
    assert topic_similarity(np.array([[0.0, 0.0], [1.0, 0.0]]), [0, 1], weights((1,), 2)).value == pytest.approx(0.25)


def test_openings_without_a_common_word_are_all_different() -> None:
    found = first_turn_diversity(["one two", "three", "four", "five"], weights((1,), 4))
    assert found == Estimate(value=1, low=1, high=1)


def test_one_pair_has_no_interval() -> None:
    assert first_turn_diversity(["one", "two"], weights((1,), 2)) == Estimate(value=1)
    assert topic_similarity(np.eye(2)[[0, 0, 0]], [0, 0, 0], weights((1,), 1)) == Estimate(value=1)


def test_overlap_is_shared_words_over_all_words() -> None:
    found = first_turn_diversity(["how do I bake bread", "How do I bake a cake?"], weights((1,), 2))
    assert found is not None
    assert found.value == pytest.approx(1 - 4 / 7)


def test_blank_openings_do_not_count() -> None:
    assert first_turn_diversity(["hello", " ", "42!"], weights((1,), 3)) is None
    assert first_turn_diversity([], weights((1,), 0)) is None


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from("abcdef"), min_size=1).map(" ".join), min_size=2, max_size=12))
def test_it_is_the_mean_over_all_pairs(openings: list[str]) -> None:
    sets = [set(words_of(opening)) for opening in openings]
    overlaps = [len(one & other) / len(one | other) for one, other in combinations(sets, 2)]
    found = first_turn_diversity(openings, weights((1,), len(openings)))
    assert found is not None
    assert found.value == pytest.approx(1 - sum(overlaps) / len(overlaps))


def test_blocks_do_not_change_it(monkeypatch: pytest.MonkeyPatch) -> None:
    openings = [f"w{number % 7} w{number % 5} w{number % 3}" for number in range(50)]
    times = weights((1,), 50)
    whole = first_turn_diversity(openings, times)
    monkeypatch.setattr(diversity, "_BLOCK_ROWS", 7)
    by_blocks = first_turn_diversity(openings, times)
    assert whole is not None
    assert by_blocks is not None
    assert by_blocks.model_dump() == pytest.approx(whole.model_dump())
