"""How long a process that died waits for its restart."""

from __future__ import annotations

from platolm.stack.process import backoff_s


def test_backoff() -> None:
    assert [backoff_s(n) for n in range(7)] == [1, 2, 4, 8, 16, 30, 30]
