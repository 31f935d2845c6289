from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.orchestrator.datasets.index_set import IndexSet

SIZE = 21


@given(st.lists(st.lists(st.integers(0, SIZE - 1))))
def test_it_holds_what_a_set_holds(batches: list[list[int]]) -> None:
    indices, plain = IndexSet(SIZE), set[int]()
    for batch in batches:
        indices.update(batch)
        plain.update(batch)
        assert len(indices) == len(plain)
        assert [index in indices for index in range(-9, SIZE + 9)] == [index in plain for index in range(-9, SIZE + 9)]


@pytest.mark.parametrize("index", [-1, SIZE, SIZE + 2])
def test_others_are_refused(index: int) -> None:
    with pytest.raises(ValueError, match=f"no conversation {index} among 21"):
        IndexSet(SIZE).update([index])
