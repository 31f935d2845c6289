"""The file that only grows."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.evaluation.journal import open_journal, read_rows
from platolm.errors import BadLinesError


def test_rows_stay_and_more_are_added(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "rows.jsonl"
    with open_journal(path) as journal:
        journal.add({"id": 1, "text": "ä\n\u2028"})
    with open_journal(path) as journal:
        journal.add({"id": 2})
        assert journal.rows == [{"id": 1, "text": "ä\n\u2028"}, {"id": 2}]
    assert read_rows(path) == [{"id": 1, "text": "ä\n\u2028"}, {"id": 2}]


def test_a_row_is_in_the_file_as_soon_as_it_is_added(tmp_path: Path) -> None:
    with open_journal(tmp_path / "rows.jsonl") as journal:
        journal.add({"id": 1})
        assert (tmp_path / "rows.jsonl").read_bytes() == b'{"id": 1}\n'


@settings(max_examples=40, deadline=None)
@given(cut=st.integers(min_value=0, max_value=36))
def test_wherever_the_last_row_is_cut_the_rows_before_it_stay(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    path = tmp_path_factory.mktemp("cut") / "rows.jsonl"
    first, second = b'{"id": 1}\n', '{"id": 2, "text": "höher"}\n'.encode()
    path.write_bytes(first + second[:cut])
    is_whole = cut >= len(second) - 1
    with open_journal(path) as journal:
        assert [row["id"] for row in journal.rows] == ([1, 2] if is_whole else [1])
        journal.add({"id": 3})
    assert [row["id"] for row in read_rows(path)] == ([1, 2, 3] if is_whole else [1, 3])


def test_damage_in_the_midst_is_named_and_nothing_is_changed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"id": 1}\n{"id":\n[3]\n{"id": 4}\n')
    with pytest.raises(BadLinesError, match="is damaged") as caught, open_journal(path):
        pass
    assert [bad.number for bad in caught.value.bad_lines] == [2, 3]
    assert path.read_bytes() == b'{"id": 1}\n{"id":\n[3]\n{"id": 4}\n'
