"""Utterances on a run's channel as fast as asked, and how a page fares meanwhile."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis
from playwright.sync_api import Page

from platolm.conversation import ASSISTANT, USER
from services.orchestrator.queue.keys import DEFAULT_PREFIX, KEYS
from tests.integration.orchestrator.api.runs import said

BATCH_S = 0.01
"""Between two pipelines of messages: fine enough to be even, coarse enough to be cheap."""

_WATCH = """() => {
  const seen = window.platolmSeen = { gaps: [], tasks: [], changes: 0, last: performance.now(), stopped: false };
  const frame = (now) => {
    seen.gaps.push(now - seen.last);
    seen.last = now;
    if (!seen.stopped) requestAnimationFrame(frame);
  };
  requestAnimationFrame((now) => { seen.last = now; requestAnimationFrame(frame); });
  new PerformanceObserver((list) => seen.tasks.push(...list.getEntries().map((entry) => entry.duration)))
    .observe({ type: "longtask" });
  new MutationObserver(() => { seen.changes += 1; })
    .observe(document.body, { childList: true, subtree: true, characterData: true });
}"""
_TELL = "() => { window.platolmSeen.stopped = true; return window.platolmSeen; }"


@dataclass(frozen=True)
class Fared:
    """Gaps between animation frames and tasks of over 50 ms, in milliseconds; `changes`: batches of changed nodes."""

    gaps_ms: list[float]
    long_tasks_ms: list[float]
    changes: int

    @property
    def longest_gap_ms(self) -> float:
        return max(self.gaps_ms)


class Watch:
    """Frames and long tasks of a page, from now until `told`."""

    def __init__(self, page: Page) -> None:
        self._page = page
        page.evaluate(_WATCH)

    def told(self) -> Fared:
        seen = self._page.evaluate(_TELL)
        return Fared(seen["gaps"], seen["tasks"], seen["changes"])


@dataclass
class Flood:
    """What was published. `listeners` is the fewest that got a message."""

    published: int = 0
    listeners: int = 0


def flood(redis_url: str, run_id: str, *, rate_per_s: int, seconds: float, conversations: int = 50) -> Flood:
    """Publish so many utterances a second of `conversations`, in turn, each conversation's turns counted from 0."""
    channel = DEFAULT_PREFIX + KEYS["events"].format(run_id)
    total, done = round(rate_per_s * seconds), Flood()
    with redis.Redis.from_url(redis_url) as client:
        started = time.monotonic()
        while done.published < total:
            due = min(total, round(rate_per_s * (time.monotonic() - started + BATCH_S)))
            pipeline = client.pipeline(transaction=False)
            for number in range(done.published, due):
                pipeline.publish(channel, message(number, conversations))
            heard = pipeline.execute()
            done.listeners = min(heard, default=done.listeners)
            done.published = due
            time.sleep(BATCH_S)
    return done


def message(number: int, conversations: int) -> str:
    """The `number`th utterance."""
    turn, index = divmod(number, conversations)
    return f"{index} {turn} {said(f'Utterance {number}. ' + 'Some words of it. ' * 12, (USER, ASSISTANT)[turn % 2])}"


@contextmanager
def flooding(redis_url: str, run_id: str, *, rate_per_s: int, seconds: float) -> Iterator[Flood]:
    """The same in a thread while entered; what was published is known when it is left."""
    told = Flood()

    def publish() -> None:
        done = flood(redis_url, run_id, rate_per_s=rate_per_s, seconds=seconds)
        told.published, told.listeners = done.published, done.listeners

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield told
    finally:
        thread.join()
