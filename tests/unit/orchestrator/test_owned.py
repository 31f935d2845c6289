"""What a worker owns, held against what Redis says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import cast

import pytest

from services.orchestrator.conversations.owned import OwnedConversations
from services.orchestrator.conversations.runner import ConversationRunner
from services.orchestrator.queue import Claim


class StubRunner:
    """Runs until it is told to end."""

    def __init__(self, run_id: str = "run-a") -> None:
        self.state = SimpleNamespace(run_id=run_id)
        self.ending = asyncio.Event()
        self.released = 0
        self.cancelled = False

    async def run(self) -> None:
        try:
            await self.ending.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise

    async def release(self) -> None:
        self.released += 1


def claim(index: int, token: str = "t") -> Claim:
    return Claim(f"c{index}", "run-a", index, "{}", token, [])


class Worker:
    """Owned conversations, by their ids, in a group that ends them all."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.owned = OwnedConversations()
        self.runners: dict[str, StubRunner] = {}
        self._group = group

    def start(self, one: Claim, run_id: str = "run-a") -> StubRunner:
        self.owned.expect([one])
        runner = self.runners[one.conversation_id] = StubRunner(run_id)
        self.owned.start(one, cast("ConversationRunner", runner), self._group)
        return runner

    async def settle(self) -> None:
        """Let every task take its next steps: to begin, to end, and to call back."""
        for _ in range(3):
            await asyncio.sleep(0)


@asynccontextmanager
async def worker() -> AsyncIterator[Worker]:
    async with asyncio.TaskGroup() as group:
        one = Worker(group)
        try:
            yield one
        finally:
            one.owned.cancel_all()


async def test_claims_count_from_the_moment_they_are_expected() -> None:
    async with worker() as one:
        one.owned.expect([claim(1), claim(2)])
        assert len(one.owned) == 2
        one.owned.start(claim(1), cast("ConversationRunner", StubRunner("run-b")), one._group)
        assert (len(one.owned), one.owned.run_ids) == (2, {"run-b"})
        one.owned.give_up(claim(2))
        assert len(one.owned) == 1
        assert one.owned.room.is_set()
        assert one.owned.unknown({"c1": "t", "c2": "t"}) == {"c2": "t"}


async def test_an_end_makes_room() -> None:
    async with worker() as one:
        runner = one.start(claim(1))
        one.start(claim(2), "run-b")
        await one.settle()
        assert not one.owned.room.is_set()
        runner.ending.set()
        await asyncio.wait_for(one.owned.room.wait(), 10)
        assert (len(one.owned), one.owned.run_ids) == (1, {"run-b"})


@pytest.mark.parametrize(
    ("held", "unknown"),
    [
        ({}, {}),
        ({"c1": "t", "c2": "t"}, {}),
        ({"c1": "other"}, {"c1": "other"}),
        ({"c2": "other"}, {"c2": "other"}),
        ({"c3": "t"}, {"c3": "t"}),
        ({"c1": "t", "c2": "t", "c3": "t", "c4": "u"}, {"c3": "t", "c4": "u"}),
    ],
)
async def test_claims_that_nobody_here_works_on(held: dict[str, str], unknown: dict[str, str]) -> None:
    """c1 is worked on, c2 is about to be."""
    async with worker() as one:
        one.start(claim(1))
        one.owned.expect([claim(2)])
        assert one.owned.unknown(held) == unknown


async def test_a_conversation_that_ended_is_unknown() -> None:
    async with worker() as one:
        one.start(claim(1)).ending.set()
        await one.settle()
        assert one.owned.unknown({"c1": "t"}) == {"c1": "t"}


async def test_a_lost_claim_stops_its_conversation_at_the_second_miss() -> None:
    async with worker() as one:
        lost, kept = one.start(claim(1)), one.start(claim(2))
        await one.settle()
        dropped = []
        for _ in range(3):
            dropped.append(one.owned.drop_lost({"c2": "t"}))
            await one.settle()
        assert dropped == [0, 1, 0]
        assert (lost.cancelled, kept.cancelled) == (True, False)
        assert len(one.owned) == 1
        assert lost.released == 0, "it is somebody else's"


async def test_a_claim_under_another_token_is_lost() -> None:
    async with worker() as one:
        lost = one.start(claim(1))
        await one.settle()
        assert [one.owned.drop_lost({"c1": "other"}) for _ in range(2)] == [0, 1]
        await one.settle()
        assert lost.cancelled


async def test_misses_count_only_in_a_row() -> None:
    async with worker() as one:
        one.start(claim(1))
        looks: list[dict[str, str]] = [{}, {"c1": "t"}, {}, {"c1": "t"}, {}]
        assert [one.owned.drop_lost(held) for held in looks] == [0] * 5
        assert one.owned.drop_lost({}) == 1


async def test_what_is_about_to_start_is_not_missed() -> None:
    async with worker() as one:
        one.owned.expect([claim(1)])
        assert [one.owned.drop_lost({}) for _ in range(3)] == [0, 0, 0]
        assert len(one.owned) == 1


async def test_one_that_ends_between_two_looks_is_not_lost() -> None:
    async with worker() as one:
        runner = one.start(claim(1))
        await one.settle()
        assert one.owned.drop_lost({}) == 0
        runner.ending.set()
        await one.settle()
        assert one.owned.drop_lost({}) == 0


async def test_what_was_dropped_while_it_was_being_made_does_not_start() -> None:
    async with worker() as one:
        one.owned.expect([claim(1)])
        one.owned.cancel_all()
        runner = StubRunner()
        one.owned.start(claim(1), cast("ConversationRunner", runner), one._group)
        await one.settle()
        assert len(one.owned) == 0
        assert not runner.cancelled


async def test_a_conversation_that_comes_back_is_not_forgotten_with_its_former_self() -> None:
    """The former task ends after the new one began under another token."""
    async with worker() as one:
        former = one.start(claim(1, "old"))
        latter = one.start(claim(1, "new"))
        await one.settle()
        former.ending.set()
        await one.settle()
        assert len(one.owned) == 1
        assert one.owned.unknown({"c1": "new"}) == {}
        assert [one.owned.drop_lost({"c1": "new"}) for _ in range(2)] == [0, 0]
        assert not latter.cancelled


async def test_everything_is_dropped_at_once_and_nothing_given_back() -> None:
    async with worker() as one:
        runners = [one.start(claim(1)), one.start(claim(2))]
        one.owned.expect([claim(3)])
        await one.settle()
        one.owned.cancel_all()
        await one.settle()
        assert len(one.owned) == 0
        assert [(runner.cancelled, runner.released) for runner in runners] == [(True, 0)] * 2


async def test_a_drain_waits_and_gives_back_what_is_late() -> None:
    async with worker() as one:
        in_time, late = one.start(claim(1)), one.start(claim(2))
        await one.settle()
        in_time.ending.set()
        await one.owned.drain(0.05)
        assert (in_time.cancelled, in_time.released) == (False, 0)
        assert (late.cancelled, late.released) == (True, 1)
        assert len(one.owned) == 0


async def test_a_drain_ends_as_soon_as_all_have_ended() -> None:
    async with worker() as one:
        runner = one.start(claim(1))
        drain = asyncio.create_task(one.owned.drain(1000))
        await one.settle()
        assert not drain.done()
        runner.ending.set()
        await asyncio.wait_for(drain, 10)
        assert runner.released == 0


async def test_nothing_to_drain() -> None:
    await OwnedConversations().drain(1000)
