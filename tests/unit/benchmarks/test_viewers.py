from __future__ import annotations

import pytest

from benchmarks.viewers import Viewers
from tests.browser.flood import message

STREAM = b"".join(
    b"event: %s\ndata: %s\n\n" % (name, b"{" + b" " * size + b"}")
    for name, size in [(b"runs", 9), (b"turn", 400), (b"turn", 0), (b"ended", 70), (b"turn", 1)]
)


@pytest.mark.parametrize("size", [1, 3, 7, 64, 100, len(STREAM)])
def test_events_are_counted_however_they_are_cut(size: int) -> None:
    viewers, kept = Viewers("http://x"), b""
    for start in range(0, len(STREAM), size):
        kept = viewers._count(kept + STREAM[start : start + size])

    assert viewers.events == {"runs": 1, "turn": 3, "ended": 1}


def test_a_long_line_is_not_kept_while_it_comes() -> None:
    assert len(Viewers("http://x")._count(b"event: turn\ndata: " + b"x" * 100_000)) <= 64


def test_utterances_of_a_flood_are_each_conversations_next() -> None:
    heads = [message(number, 3).split(" ", 2)[:2] for number in range(7)]
    assert heads == [["0", "0"], ["1", "0"], ["2", "0"], ["0", "1"], ["1", "1"], ["2", "1"], ["0", "2"]]
