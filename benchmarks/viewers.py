"""Open dashboards without a browser: who listens to server-sent events, and what they heard."""

from __future__ import annotations

import asyncio
import contextlib
import re
import threading
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp

_EVENT = re.compile(rb"^event: ([a-z]+)\r?\n", re.MULTILINE)
_LONGEST_LINE = 64
_FOREVER = aiohttp.ClientTimeout(total=None, sock_read=None)


@dataclass
class Viewers:
    """Events that came, by name, over all streams together; written by a thread of its own."""

    url: str
    events: Counter[str] = field(default_factory=Counter)
    num_connected: int = 0
    stopped: bool = False

    async def listen(self, session: aiohttp.ClientSession, path: str) -> None:
        """One stream to its end."""
        async with session.get(f"{self.url}{path}", timeout=_FOREVER) as response:
            response.raise_for_status()
            self.num_connected += 1
            kept = b""
            async for chunk in response.content.iter_any():
                kept = self._count(kept + chunk)

    async def watch_some(self, session: aiohttp.ClientSession, run_id: str) -> None:
        """The youngest conversation of a run that is in flight; when it has ended, another."""
        in_flight = f"{self.url}/v1/runs/{run_id}/conversations?state=in_flight&limit=100"
        while not self.stopped:
            async with session.get(in_flight) as response:
                listed = (await response.json())["conversations"]
            if not listed:
                await asyncio.sleep(0.05)
                continue
            with contextlib.suppress(aiohttp.ClientResponseError):  # it has ended meanwhile
                youngest = min(listed, key=lambda conversation: int(conversation["num_turns"]))
                await self.listen(session, f"/v1/conversations/{youngest['id']}/events")

    def _count(self, text: bytes) -> bytes:
        """Count the whole lines; gives what is left of the last one."""
        whole, newline, rest = text.rpartition(b"\n")
        self.events.update(name.decode() for name in _EVENT.findall(whole + newline))
        return rest[-_LONGEST_LINE:] if len(rest) > _LONGEST_LINE and not rest.startswith(b"event") else rest


@contextmanager
def viewing(url: str, paths: Sequence[str], *, watched_run: str | None = None) -> Iterator[Viewers]:
    """A stream for each of `paths`, and one conversation of `watched_run`, while entered."""
    viewers = Viewers(url)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    future = asyncio.run_coroutine_threadsafe(_view(viewers, paths, watched_run), loop)
    try:
        yield viewers
    finally:
        viewers.stopped = True
        future.cancel()
        asyncio.run_coroutine_threadsafe(_settled(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _view(viewers: Viewers, paths: Sequence[str], watched_run: str | None) -> None:
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        for path in paths:
            group.create_task(viewers.listen(session, path))
        if watched_run is not None:
            group.create_task(viewers.watch_some(session, watched_run))


async def _settled() -> None:
    """When every other task has ended."""
    others: list[Coroutine[Any, Any, Any] | asyncio.Task[Any]] = [
        task for task in asyncio.all_tasks() if task is not asyncio.current_task()
    ]
    await asyncio.gather(*others, return_exceptions=True)
