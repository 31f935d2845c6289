"""Conversations that somebody watches, and those that nobody does."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import orjson
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from platolm.conversation import USER
from services.orchestrator.conversations import watching
from services.orchestrator.conversations.watching import Sight
from tests.unit.orchestrator.runner.stage import LOST, RESPONDENT, SIMULATOR, Stage, until

ID = "run-a-00000007"
AWAY = RedisConnectionError("away")


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SHOW_EVERY_S", 0.0)


def shown(stage: Stage) -> list[dict[str, Any]]:
    """What went through the channel; each message begins with its turn's index."""
    messages = [message.partition(" ") for message in stage.queue.shown]
    contents = [orjson.loads(data) for _, _, data in messages]
    assert [turn_index for turn_index, _, _ in messages] == [str(content["turn_index"]) for content in contents]
    return contents


def sight(stage: Stage) -> Sight:
    return Sight(ID, 0, USER, stage.tokenizer.decode)


def say(stage: Stage) -> None:
    stage.answers(SIMULATOR, "Hi, Plato", "And how?")
    stage.answers(RESPONDENT, "Hi, you", "Like so.")


async def test_nobody_watches(stage: Stage) -> None:
    stage.queue.watching = frozenset({"run-a-00000008"})
    await stage.watching.look()
    say(stage)
    await stage.run()
    assert stage.queue.shown == []
    assert not any("stream" in body for _, body in stage.engines.asked)


async def test_what_is_watched_is_recorded_as_if_it_were_not(stage: Stage) -> None:
    stage.queue.watching = frozenset({ID})
    await stage.watching.look()
    say(stage)
    await stage.run()
    said = ["Hi, Plato", "Hi, you", "And how?", "Like so."]
    assert stage.queue.contents() == said
    assert all(body["stream"] for _, body in stage.engines.asked)
    for content in shown(stage):
        assert said[content["turn_index"]].startswith(content["text"])
        assert content["role"] == ("assistant" if content["turn_index"] % 2 else "user")
    assert {content["turn_index"] for content in shown(stage)} == {0, 1, 2, 3}
    texts = [content["text"] for content in shown(stage) if content["turn_index"] == 0]
    assert texts == sorted(set(texts), key=len)
    assert len(texts) > 1


async def test_an_engine_lost_in_a_stream_is_an_engine_lost(stage: Stage) -> None:
    stage.queue.watching = frozenset({ID})
    await stage.watching.look()
    stage.answers(SIMULATOR, LOST)
    say(stage)
    await stage.run()
    assert stage.queue.contents()[0] == "Hi, Plato"
    assert stage.counted("utterance_retries_total", side="simulator", cause="no_answer") == 1


async def test_while_redis_is_away_nobody_watches(stage: Stage) -> None:
    stage.queue.watching = frozenset({ID})
    await stage.watching.look()
    assert ID in stage.watching
    stage.queue.watching = AWAY
    await stage.watching.look()
    assert ID not in stage.watching


async def test_worker_looks_again_and_again(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "LOOK_EVERY_S", 0.0)
    looking = asyncio.create_task(stage.watching.keep_looking(stage.stopping))
    for watched in (frozenset({ID}), frozenset[str](), frozenset({ID})):
        stage.queue.watching = watched
        await until(lambda: (ID in stage.watching) == bool(watched))  # noqa: B023
    stage.stopping.set()
    await asyncio.wait_for(looking, 5)


async def test_half_a_character_is_not_shown(stage: Stage) -> None:
    ids = stage.tokenizer.encode("aé")
    assert [sight(stage).text(ids[:end]) for end in range(len(ids) + 1)] == ["", "a", "a", "aé"]


async def test_who_has_gone_is_shown_nothing_more(stage: Stage) -> None:
    stage.queue.watching = frozenset({ID})
    await stage.watching.look()
    async with stage.watching.showing(sight(stage)) as show:
        show(stage.tokenizer.encode("a"))
        await until(lambda: len(stage.queue.shown) == 1)
        stage.queue.watching = frozenset()
        await stage.watching.look()
        show(stage.tokenizer.encode("ab"))
        for _ in range(20):
            await asyncio.sleep(0)
    assert [content["text"] for content in shown(stage)] == ["a"]


async def test_a_sight_comes_at_most_so_often(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "SHOW_EVERY_S", 3600.0)
    stage.queue.watching = frozenset({ID})
    await stage.watching.look()
    async with stage.watching.showing(sight(stage)) as show:
        for end in range(1, 10):
            show(stage.tokenizer.encode("abcdefghij")[:end])
            await asyncio.sleep(0)
    assert [content["text"] for content in shown(stage)] == ["a"]


async def test_a_stop_in_the_middle_stays_a_stop(stage: Stage) -> None:
    stage.queue.watching = frozenset({ID})
    await stage.watching.look()
    begun = asyncio.Event()

    async def speak() -> None:
        async with stage.watching.showing(sight(stage)) as show:
            show(stage.tokenizer.encode("a"))
            begun.set()
            await asyncio.Event().wait()

    speaking = asyncio.create_task(speak())
    await begun.wait()
    speaking.cancel("a reason")
    with contextlib.suppress(asyncio.CancelledError):
        await speaking
    assert speaking.cancelled()
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("showing")] == []
