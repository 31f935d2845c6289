from __future__ import annotations

import asyncio

import pytest

from services.orchestrator.live import audience as audience_module
from services.orchestrator.live.audience import LARGEST_BATCH, MAX_WAITING_EVENTS, Audience, Listener

SOON_S = 0.01


def turn(number: int) -> bytes:
    return f"event: turn\ndata: {number}\n\n".encode()


async def written(listener: Listener) -> list[bytes]:
    return [piece async for piece in listener.writes()]


@pytest.fixture
def audience() -> Audience:
    return Audience(gather_s=SOON_S)


async def test_what_came_together_is_written_together_in_order_and_the_newest_behind_it(audience: Audience) -> None:
    listener = audience.join(b"")
    audience.show("progress", b"progress\n\n")
    for number in range(100):
        audience.tell(turn(number))
    audience.end()
    assert await written(listener) == [b"".join(map(turn, range(100))) + b"progress\n\n"]


async def test_all_listeners_are_given_the_same_bytes(audience: Audience) -> None:
    first, second = audience.join(b""), audience.join(b"")
    audience.tell(turn(1))
    audience.end()
    [one], [other] = await written(first), await written(second)
    assert one is other


async def test_a_newcomer_is_greeted_and_gets_nothing_from_before(audience: Audience) -> None:
    early = audience.join(b"")
    audience.tell(turn(1))
    late = audience.join(b"hello\n\n")
    audience.tell(turn(2))
    audience.end()
    assert b"".join(await written(early)) == turn(1) + turn(2)
    assert b"".join(await written(late)) == b"hello\n\n" + turn(2)


async def test_a_slow_listener_loses_the_oldest_and_is_told(audience: Audience) -> None:
    listener = audience.join(b"")
    total = MAX_WAITING_EVENTS + LARGEST_BATCH + 7
    for number in range(total):
        audience.tell(turn(number))
    audience.end()
    dropped = 2 * LARGEST_BATCH
    kept = b"".join(map(turn, range(dropped, total)))
    assert b"".join(await written(listener)) == b'event: dropped\ndata: {"turns":%d}\n\n' % dropped + kept


async def test_nothing_is_dropped_of_what_may_wait(audience: Audience) -> None:
    listener = audience.join(b"")
    for number in range(MAX_WAITING_EVENTS):
        audience.tell(turn(number))
    audience.end()
    assert b"".join(await written(listener)) == b"".join(map(turn, range(MAX_WAITING_EVENTS)))


async def test_a_write_is_bounded(audience: Audience, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience_module, "LARGEST_BATCH", 10)
    listener = audience.join(b"")
    for number in range(25):
        audience.tell(turn(number))
    audience.show("progress", b"progress\n\n")
    audience.end()
    pieces = await written(listener)
    assert [piece.count(b"event: turn") for piece in pieces] == [10, 10, 5]
    assert pieces[-1].endswith(b"progress\n\n")


async def test_what_was_not_taken_is_replaced_or_withdrawn(audience: Audience) -> None:
    listener = audience.join(b"")
    for content in (b"old\n\n", b"new\n\n"):
        audience.show("progress", content)
        audience.flush()
    for is_handed_out in (False, True):
        audience.show("partial", b"partial\n\n")
        if is_handed_out:
            audience.flush()
        audience.withdraw("partial")
    audience.end()
    assert await written(listener) == [b"new\n\n"]


async def test_events_wait_for_others_and_not_for_long(audience: Audience) -> None:
    listener = audience.join(b"")
    writes = listener.writes()
    first = asyncio.ensure_future(anext(writes))
    done, _ = await asyncio.wait({first}, timeout=5 * SOON_S)
    assert done == set()
    audience.tell(turn(1))
    await asyncio.sleep(0)
    assert not first.done()
    audience.tell(turn(2))
    assert await asyncio.wait_for(first, 1) == turn(1) + turn(2)
    audience.end()
    with pytest.raises(StopAsyncIteration):
        await asyncio.wait_for(anext(writes), 1)


async def test_who_has_left_is_given_nothing(audience: Audience) -> None:
    listener = audience.join(b"")
    audience.leave(listener)
    audience.tell(turn(1))
    audience.end()
    assert len(audience) == 0
    listener.end()
    assert await written(listener) == []
