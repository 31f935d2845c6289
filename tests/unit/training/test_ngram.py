"""The 5-gram is a real distribution, and a fair opponent."""

from __future__ import annotations

import math
import random

import pytest

from training.ngram import KneserNey


def random_sequences(num: int, vocab_size: int, seed: int = 1) -> list[list[int]]:
    generator = random.Random(seed)
    return [
        [min(int(generator.expovariate(0.4)), vocab_size - 1) for _ in range(generator.randint(1, 30))]
        for _ in range(num)
    ]


@pytest.mark.parametrize("order", [1, 2, 3, 5])
def test_probabilities_sum_to_one_after_seen_and_unseen_contexts(order: int) -> None:
    sequences = random_sequences(200, 12)
    model = KneserNey.trained(sequences, order=order, vocab_size=12)
    contexts = [[], [0], [11, 11, 11, 11], sequences[0][:4], sequences[1][:9], [5, 4, 3, 2, 1]]
    for context in contexts:
        assert sum(model.probability(context, token) for token in range(12)) == pytest.approx(1)


def test_every_token_has_a_probability_however_unseen() -> None:
    model = KneserNey.trained([[1, 2, 3]], order=5, vocab_size=100)
    assert 0 < model.probability([7, 8], 99) < model.probability([1, 2], 3)


def test_a_lower_order_counts_contexts_rather_than_occurrences() -> None:
    """Kneser-Ney's own case: "Francisco" is frequent, but only after "San"."""
    san, francisco, glass = 0, 1, 2
    sequences = [[san, francisco]] * 20 + [[other, glass] for other in range(3, 10)]
    model = KneserNey.trained(sequences, order=2, vocab_size=12)
    assert model.probability([11], glass) > model.probability([11], francisco)
    assert model.probability([san], francisco) > 0.8


def test_longer_contexts_help_on_text_that_has_structure() -> None:
    cycle = [[i % 7 for i in range(start, start + 40)] for start in range(7)] * 3
    short = KneserNey.trained(cycle, order=1, vocab_size=8)
    long = KneserNey.trained(cycle, order=5, vocab_size=8)
    ids = [i % 7 for i in range(30)]
    assert sum(long.nats(ids, i) for i in range(30)) < 0.3 * sum(short.nats(ids, i) for i in range(30))


def test_nats_are_of_the_token_at_the_position_given_its_past() -> None:
    model = KneserNey.trained(random_sequences(50, 6), order=3, vocab_size=6)
    assert model.nats([4, 1, 2, 0], 3) == pytest.approx(-math.log(model.probability([1, 2], 0)))
    assert model.nats([4], 0) == pytest.approx(-math.log(model.probability([], 4)))
