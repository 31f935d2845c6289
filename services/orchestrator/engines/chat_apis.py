"""The chat APIs that a worker can ask: opened when a run first names them, passed over while they do not answer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import structlog

from platolm.chat_apis.endpoints import ChatEndpoint, choose
from platolm.errors import MisconfiguredError, SpeakerError
from services.orchestrator.engines.errors import NoReplicaError
from services.orchestrator.queue import Offer
from services.orchestrator.queue.queue import API_POOL

if TYPE_CHECKING:  # the API reads this module too, and has no use for the openai SDK
    from platolm.chat_apis.api import ChatApi

logger = structlog.get_logger(__name__)

LOOK_TIMEOUT_S = 10.0
LOOK_EVERY_S = 5.0
"""Between two looks at an API that does not answer."""
_WITHOUT_LIST = frozenset({404, 405})
"""Refusals of APIs that answer, and have no list of models: the first request tells whether the address is right."""

Opener = Callable[[str, ChatEndpoint], "ChatApi"]
"""Opens an API by its name; raises `MisconfiguredError` where its key is not there."""


class OutsideApi:
    """One chat API as this worker knows it, with the face of a `Replica`."""

    def __init__(self, engine: ChatApi) -> None:
        self.engine = engine
        self.is_away = False
        self.looked_at = 0.0

    @property
    def name(self) -> str:
        return self.engine.name

    @property
    def url(self) -> str:
        return self.engine.endpoint.url

    def refuse(self) -> None:
        """Pass it over until it answers a look: it does not answer."""
        self.is_away, self.looked_at = True, time.monotonic()

    @asynccontextmanager
    async def waited_for(self) -> AsyncIterator[None]:
        """Around a request. It has its own patience; nobody here tells that it hangs."""
        yield

    async def look(self) -> None:
        """Ask it for its models; from then on it is away, or is not.

        Raises:
            MisconfiguredError: it answers, and refuses the key.
        """
        self.looked_at = time.monotonic()
        was_away, self.is_away = self.is_away, False
        try:
            async with asyncio.timeout(LOOK_TIMEOUT_S):
                await self.engine.check()
        except MisconfiguredError as error:
            if error.status not in _WITHOUT_LIST:
                raise
        except (SpeakerError, TimeoutError) as error:
            status = getattr(error, "status", None)
            self.is_away = status is None or status >= 500
            if self.is_away and not was_away:
                logger.warning("chat_api_away", api=self.name, error=str(error) or repr(error))


class ChatApis:
    """Every chat API that the operator named, by name."""

    def __init__(self, endpoints: Mapping[str, ChatEndpoint], opened: Opener) -> None:
        self._endpoints = endpoints
        self._opened = opened
        self._by_name: dict[str, OutsideApi] = {}

    def endpoint(self, name: str) -> ChatEndpoint:
        """What the operator wrote of an API.

        Raises:
            MisconfiguredError: nothing.
        """
        if name not in self._endpoints:
            known = ", ".join(self._endpoints) or "none"
            raise MisconfiguredError(
                f"this worker knows no chat API {name!r}, but {known}: see PLATOLM_WORKER_CHAT_APIS_FILE"
            )
        return self._endpoints[name]

    def get(self, name: str) -> OutsideApi:
        """An API, open from now on.

        Raises:
            MisconfiguredError: there is none of this name, or its key is not there.
        """
        if name not in self._by_name:
            self._by_name[name] = OutsideApi(self._opened(name, self.endpoint(name)))
        return self._by_name[name]

    def away(self, names: Iterable[str]) -> set[str]:
        """Those of them that do not answer now. One that was never asked may."""
        return {name for name in names if name in self._by_name and self._by_name[name].is_away}

    async def check(self, names: Collection[str]) -> None:
        """See before a run's first request that its APIs answer, and take their keys.

        Raises:
            MisconfiguredError: one of them is not known, or refuses its key.
            NoReplicaError: none of them answers.
        """
        for name in names:
            await self._look(name)
        if len(self.away(names)) == len(names):
            raise NoReplicaError(f"no chat API answers: {', '.join(names)}", retryable=True)

    async def look_again(self, names: Iterable[str]) -> None:
        """Look at those that were away a while ago."""
        now = time.monotonic()
        for name in self.away(names):
            if self._by_name[name].looked_at + LOOK_EVERY_S <= now:
                try:
                    await self._by_name[name].look()
                except MisconfiguredError as error:  # it answers; the run that asks it will say so
                    logger.warning("chat_api_refuses", api=name, error=str(error))

    async def close(self) -> None:
        for name in list(self._by_name):
            await self._forget(name)

    async def _look(self, name: str) -> None:
        """Look at one; where its key is refused that was read a while ago, with the key as it is now."""
        was_open = name in self._by_name
        try:
            await self.get(name).look()
        except MisconfiguredError:
            await self._forget(name)
            if not was_open:
                raise
            await self._look(name)

    async def _forget(self, name: str) -> None:
        known = self._by_name.pop(name, None)
        if known is not None:
            await known.engine.close()


def no_chat_apis() -> ChatApis:
    """Of a worker that was given none."""

    def opened(name: str, endpoint: ChatEndpoint) -> ChatApi:
        raise AssertionError("there is no endpoint to open")

    return ChatApis({}, opened)


class ApiPool:
    """The chat APIs that one side of a run may ask. The queue knows them as one place without bounds: which of them a
    conversation asks is decided by its index, see `ApiSeat`.
    """

    kind = "chat API"
    urls: tuple[str, ...] = ()

    def __init__(self, apis: ChatApis, key: str) -> None:
        self._apis = apis
        self._key = key
        self._names = key.removeprefix(API_POOL).split(",")
        self.unusable_since: float | None = None

    @property
    def name(self) -> str:
        return ", ".join(self._names)

    async def refresh(self) -> None:
        """See whether those that were away answer again."""
        await self._apis.look_again(self._names)

    def usable(self) -> list[str]:
        """Names of the APIs that may be asked now."""
        away = self._apis.away(self._names)
        if len(away) < len(self._names):
            self.unusable_since = None
        elif self.unusable_since is None:
            self.unusable_since = time.monotonic()
        return [name for name in self._names if name not in away]

    def offers(self) -> list[Offer]:
        return [Offer(self._key, 0)] if self.usable() else []


class ApiSeat:
    """Which chat API one side of one conversation asks: by run seed and index, and kept until that one fails it.

    `spoke` gives the API of the side's last recorded utterance, which keeps the conversation too.
    """

    def __init__(
        self,
        apis: ChatApis,
        weights: Mapping[str, float],
        *,
        run_seed: int,
        index: int,
        spoke: Callable[[], str | None],
    ) -> None:
        self._apis = apis
        self._weights = weights
        self._run_seed = run_seed
        self._index = index
        self._spoke = spoke
        self._failed: set[str] = set()
        self._name: str | None = None

    def api(self) -> OutsideApi:
        """The API to ask now.

        Raises:
            MisconfiguredError: this worker does not know it, or lacks its key.
        """
        if self._name is None:
            away, kept = self._apis.away(self._weights), self._spoke()
            is_there = kept in self._weights and kept not in away
            self._name = kept if is_there else self._choose(away) or self._choose(())
        assert self._name is not None, "a side that asks APIs has one with a weight"
        return self._apis.get(self._name)

    def leave(self) -> None:
        """Pass over an API that does not answer.

        Raises:
            NoReplicaError: no other may be asked now.
        """
        self.api().refuse()
        other = self._choose(self._apis.away(self._weights))
        if other is None:
            raise NoReplicaError("no chat API answers", retryable=True)
        self._name = other

    def try_another(self) -> None:
        """Go to one that has not failed this conversation yet, where there is one."""
        self._failed.add(self.api().name)
        self._name = self._choose(self._failed | self._apis.away(self._weights)) or self._name

    def _choose(self, without: Collection[str]) -> str | None:
        return choose(self._weights, self._run_seed, self._index, without=without)
