"""A segment's bytes as pieces of whole lines."""

from __future__ import annotations

import io
import json

import orjson
from hypothesis import given
from hypothesis import strategies as st

from platolm.segments import encode_segment
from platolm.spec import OutputFormat
from services.orchestrator.browse.lines import line_pieces, whole_lines
from tests.browsed_dataset import said


@given(st.lists(st.lists(st.sampled_from([b"a", b"\r", b"\n", b"bc"]), max_size=5).map(b"".join), max_size=6))
def test_pieces_end_with_lines(pieces: list[bytes]) -> None:
    content = b"".join(pieces)
    whole = list(whole_lines(pieces))
    assert all(piece.endswith(b"\n") for piece in whole)
    assert b"".join(whole) == content + (b"" if content.endswith(b"\n") or not content else b"\n")


def test_of_parquet_what_browsing_needs_is_read() -> None:
    records = [said(index, "How?", "So.") for index in range(3)]
    content = encode_segment(map(json.dumps, records), OutputFormat.PARQUET)
    lines = b"".join(line_pieces(io.BytesIO(content), "a.parquet")).splitlines()
    kept = ("id", "index", "conversations", "num_rounds", "termination_reason")
    turn = ("role", "num_tokens", "finish_reason")
    assert [orjson.loads(line) for line in lines] == [
        {
            **{name: record[name] for name in kept},
            "turns": [{name: one[name] for name in turn} for one in record["turns"]],
        }
        for record in records
    ]
