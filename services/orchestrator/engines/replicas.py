"""The engines that a worker can reach: found by name resolution, watched, passed over while they fail."""

from __future__ import annotations

import asyncio
import ipaddress
import math
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import aiohttp
import structlog

from platolm.engine_client import EngineClient, EngineModel
from platolm.errors import MisconfiguredError, SpeakerError
from services.orchestrator.engines.chat_apis import ApiPool, ChatApis, no_chat_apis
from services.orchestrator.engines.engine_metrics import EngineReading, read_engine_metrics
from services.orchestrator.engines.errors import HungEngineError, NoReplicaError
from services.orchestrator.queue import Offer
from services.orchestrator.queue.queue import API_POOL

logger = structlog.get_logger(__name__)

REFUSED_FOR_S = 5.0
"""A replica that failed gets no new conversation for so long, or until it answers again."""
LOOK_EVERY_S = 10.0
"""Between two looks at an engine that does well: writing its metrics down costs it time that it could generate in."""
LOOKS_PER_HANG = 4
LOOK_TIMEOUT_S = 5.0
MISSES_ALLOWED = 2
"""Looks in a row without an answer after which a replica is passed over until it answers; a busy machine may miss one,
but not the first of all."""

_ABANDONED = "abandoned"


@dataclass
class Replica:
    """One engine address, shared by all pools that name it; `speaking` holds the tasks that wait for its answer."""

    engine: EngineClient
    reading: EngineReading = field(default_factory=EngineReading)
    moved_at: float = field(default_factory=time.monotonic)
    refused_until: float = 0.0
    looked_at: float = -math.inf
    read_at: float = -math.inf
    misses: int = 0
    has_answered: bool = False
    is_hung: bool = False
    was_busy: bool = False
    speaking: set[asyncio.Task[Any]] = field(default_factory=set)

    @property
    def url(self) -> str:
        return self.engine.base_url

    def is_usable(self, now: float) -> bool:
        answers = self.misses < (MISSES_ALLOWED if self.has_answered else 1)
        return answers and self.refused_until <= now and not self.is_hung

    def refuse(self) -> None:
        """Pass it over for a while: it failed."""
        self.refused_until = time.monotonic() + REFUSED_FOR_S

    def note(self, reading: EngineReading, now: float, *, hang_after_s: float) -> None:
        """Take in what the engine says of itself; requests without an iteration for `hang_after_s` make it hung."""
        # An engine that hangs at once may never have counted a request as running; ours wait for it nevertheless.
        busy = bool(reading.running or reading.waiting or (reading.block_size and self.speaking))
        if not (busy and self.was_busy) or reading.iterations != self.reading.iterations:
            self.moved_at = now
        self.reading, self.read_at, self.was_busy = reading, now, busy
        was_hung, self.is_hung = self.is_hung, now - self.moved_at >= hang_after_s
        if self.is_hung and not was_hung:
            logger.error("engine_hung", replica=self.url, running=reading.running)
            self.abandon()

    def abandon(self) -> None:
        """Wake everyone who waits for an answer that will not come; `waited_for` turns it into an error."""
        for task in list(self.speaking):
            task.cancel(_ABANDONED)

    @asynccontextmanager
    async def waited_for(self) -> AsyncIterator[None]:
        """Around a request to this engine.

        Raises:
            HungEngineError: the engine was found hung meanwhile; retryable, elsewhere.
        """
        task = asyncio.current_task()
        assert task is not None
        self.speaking.add(task)
        try:
            yield
        except asyncio.CancelledError as cancelled:
            if cancelled.args[:1] != (_ABANDONED,) or task.uncancel():
                raise
            raise HungEngineError(f"{self.url} makes no progress", retryable=True) from None
        finally:
            self.speaking.discard(task)


class Replicas:
    """Every engine that this worker knows, by URL."""

    def __init__(self, session: aiohttp.ClientSession, *, hang_after_s: float) -> None:
        self._session = session
        self._hang_after_s = hang_after_s
        self._by_url: dict[str, Replica] = {}

    def __iter__(self) -> Iterator[Replica]:
        return iter(list(self._by_url.values()))

    def get(self, url: str) -> Replica:
        """The replica at an address, known from now on."""
        if url not in self._by_url:
            self._by_url[url] = Replica(EngineClient(self._session, url))
        return self._by_url[url]

    def due(self, urls: Iterable[str]) -> list[str]:
        """Those that are to be looked at: new ones, those that did not answer or failed, the others now and then."""
        now, every_s = time.monotonic(), min(LOOK_EVERY_S, self._hang_after_s / LOOKS_PER_HANG)
        replicas = map(self.get, urls)
        return [one.url for one in replicas if one.misses or one.looked_at + every_s <= now or not one.is_usable(now)]

    async def watch(self, urls: Iterable[str]) -> None:
        """Read the metrics of these replicas once; one that does not answer is passed over."""
        await asyncio.gather(*(self._read(self.get(url)) for url in urls))

    async def _read(self, replica: Replica) -> None:
        replica.looked_at = time.monotonic()
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                text = await replica.engine.metrics()
        except MisconfiguredError:
            text = ""  # it answers, and has no metrics: not vLLM, so nothing is known of its cache
        except (SpeakerError, TimeoutError) as error:
            replica.misses += 1
            if replica.misses == MISSES_ALLOWED:
                logger.warning("replica_away", replica=replica.url, error=repr(error))
            return
        replica.misses, replica.refused_until, replica.has_answered = 0, 0.0, True
        replica.note(read_engine_metrics(text), time.monotonic(), hang_after_s=self._hang_after_s)

    def forget(self, kept: set[str]) -> None:
        """Drop replicas outside `kept` that nobody waits for."""
        for url in set(self._by_url) - kept:
            if not self._by_url[url].speaking:
                del self._by_url[url]


class ReplicaPool:
    """The engines that one side of a run may use.

    Each URL's host stands for all its addresses and is resolved anew at every `refresh`: a compose service with three
    replicas, a headless Kubernetes service and a plain list of ports work alike.
    """

    kind = "engine"

    def __init__(self, replicas: Replicas, urls: Iterable[str]) -> None:
        self._replicas = replicas
        self._given = tuple(url.rstrip("/") for url in urls)
        self.urls: tuple[str, ...] = ()
        self.unusable_since: float | None = time.monotonic()

    @property
    def name(self) -> str:
        return ", ".join(self._given)

    @property
    def is_given(self) -> bool:
        """Whether it has any address, answering or not."""
        return bool(self._given)

    async def refresh(self) -> None:
        """Resolve all hosts; addresses that are gone get no new conversations."""
        answers = [await _addresses(url) for url in self._given]
        resolved = {url for answer in answers if answer is not None for url in answer}
        if None in answers:
            resolved |= set(self.urls)  # a resolver that fails says nothing of the replicas that we know
        self.urls = tuple(sorted(resolved))

    def usable(self) -> list[Replica]:
        """The replicas that may get conversations now."""
        now = time.monotonic()
        usable = [replica for url in self.urls if (replica := self._replicas.get(url)).is_usable(now)]
        if usable:
            self.unusable_since = None
        elif self.unusable_since is None:
            self.unusable_since = now
        return usable

    def offers(self) -> list[Offer]:
        return [Offer(replica.url, replica.reading.kv_tokens) for replica in self.usable()]

    async def describe(self, model: str | None = None) -> EngineModel:
        """The model that the pool serves, from the first replica that answers.

        Raises:
            MisconfiguredError: those that answer do not serve `model`.
            SpeakerError: no replica answers; retryable.
        """
        error: SpeakerError = NoReplicaError(f"no engine at {self.name}", retryable=True)
        for url in self.urls:
            replica = self._replicas.get(url)
            try:
                async with asyncio.timeout(LOOK_TIMEOUT_S):
                    models = await replica.engine.models()
            except SpeakerError as failed:
                replica.refuse()
                error = failed
                continue
            except TimeoutError:
                replica.refuse()
                error = NoReplicaError(f"{url} does not answer", retryable=True)
                continue
            for served in models:
                if model in (None, served.id):
                    return served
            served_names = ", ".join(m.id for m in models) or "nothing"
            raise MisconfiguredError(f"{url} serves {served_names}" + (f", not {model}" if model else ""))
        raise error


Pool = ReplicaPool | ApiPool


class Pools:
    """Pools by role and by the key that a run names them with; the empty key is what the worker was given."""

    def __init__(self, replicas: Replicas, defaults: Mapping[str, Iterable[str]], apis: ChatApis | None = None) -> None:
        self.replicas = replicas
        self.apis = apis or no_chat_apis()
        self._pools: dict[str, dict[str, Pool]] = {
            role: {"": ReplicaPool(replicas, urls)} for role, urls in defaults.items()
        }

    def get(self, role: str, key: str) -> Pool:
        """A pool; its addresses are known after the next `refresh`."""
        by_key = self._pools[role]
        if key not in by_key:
            is_outside = key.startswith(API_POOL)
            by_key[key] = ApiPool(self.apis, key) if is_outside else ReplicaPool(self.replicas, key.split(","))
        return by_key[key]

    def engines(self, role: str, key: str) -> ReplicaPool:
        """A pool that is not of chat APIs."""
        pool = self.get(role, key)
        assert isinstance(pool, ReplicaPool), "chat APIs are asked for by their names"
        return pool

    async def refresh(self) -> None:
        """Resolve, then read the metrics of every replica that is due."""
        pools = [pool for by_key in self._pools.values() for pool in by_key.values()]
        await asyncio.gather(*(pool.refresh() for pool in pools))
        urls = {url for pool in pools for url in pool.urls}
        await self.replicas.watch(self.replicas.due(urls))
        self.replicas.forget(urls)

    def offers(self) -> dict[str, dict[str, list[Offer]]]:
        """What may be used now, as `Queue.claim` takes it."""
        return {role: {key: pool.offers() for key, pool in by_key.items()} for role, by_key in self._pools.items()}

    def replicas_by_role(self) -> Iterator[tuple[str, Replica]]:
        """Every known replica, once for each role whose pools it is in."""
        for role, by_key in self._pools.items():
            for url in sorted({url for pool in by_key.values() for url in pool.urls}):
                yield role, self.replicas.get(url)

    def forget(self, kept: Mapping[str, set[str]]) -> None:
        """Drop pools that no run names any more."""
        for role, by_key in self._pools.items():
            for key in set(by_key) - kept[role] - {""}:
                del by_key[key]


async def _addresses(url: str) -> list[str] | None:
    """The URL once for every address of its host; None where the host does not resolve now."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, parts.port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):  # the latter for what is no host name at all
        return None
    addresses = sorted({str(entry[4][0]) for entry in found})
    if parts.scheme == "https" or all(ipaddress.ip_address(address).is_loopback for address in addresses):
        return [url]
    port = f":{parts.port}" if parts.port else ""
    return [urlunsplit(parts._replace(netloc=_bracketed(address) + port)) for address in addresses]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
