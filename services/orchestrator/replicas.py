"""The engines of one side: found by name resolution, chosen by least reserved tokens, left when they fail."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from platolm.errors import SpeakerError
from platolm.speakers import EngineClient, EngineModel

REFUSED_FOR_S = 5.0
"""A replica that failed gets no new conversation for so long."""


@dataclass
class Replica:
    """One engine address; `reserved_tokens` is what the conversations placed on it may still grow to, in tokens."""

    engine: EngineClient
    reserved_tokens: int = 0
    refused_until: float = field(default=0.0)

    @property
    def url(self) -> str:
        return self.engine.base_url


@dataclass
class Placement:
    """A conversation's replica on one side; it stays there until that replica is gone."""

    replica: Replica
    tokens: int


class NoReplicaError(SpeakerError):
    """No engine of this side is known or willing."""


def choose_replica(replicas: Sequence[Replica], now: float, spread: int) -> Replica | None:
    """The replica with the fewest reserved tokens among those that may be used.

    Among equals `spread` (any number, e.g. the conversation's index) decides, so that the first conversations do not
    all go to one.
    """
    usable = [replica for replica in replicas if replica.refused_until <= now]
    if not usable:
        return None
    least = min(replica.reserved_tokens for replica in usable)
    equals = [replica for replica in usable if replica.reserved_tokens == least]
    return equals[spread % len(equals)]


class ReplicaPool:
    """All engines of one side.

    Each URL's host stands for all its addresses and is resolved anew at every `refresh`: a compose service with three
    replicas, a headless Kubernetes service and a plain list of ports work alike.
    """

    def __init__(self, session: aiohttp.ClientSession, urls: Iterable[str]) -> None:
        self._session = session
        self._urls = tuple(urls)
        self._replicas: dict[str, Replica] = {}

    @property
    def replicas(self) -> list[Replica]:
        return list(self._replicas.values())

    async def refresh(self) -> None:
        """Resolve all hosts; addresses that are gone get no new conversations."""
        answers = [await _addresses(url) for url in self._urls]
        resolved = [url for answer in answers if answer is not None for url in answer]
        for url in resolved:
            if url not in self._replicas:
                self._replicas[url] = Replica(EngineClient(self._session, url))
        if None in answers:
            return  # a resolver that fails says nothing of the replicas that we know
        for url in set(self._replicas) - set(resolved):
            del self._replicas[url]

    async def describe(self, model: str | None = None) -> EngineModel:
        """The model that the side serves, from the first replica that answers.

        Raises:
            SpeakerError: no replica answers, or none serves `model`.
        """
        error: SpeakerError = NoReplicaError(f"no engine at {', '.join(self._urls)}", retryable=True)
        for replica in self.replicas:
            try:
                models = await replica.engine.models()
            except SpeakerError as failed:
                error = failed
                continue
            for served in models:
                if model in (None, served.id):
                    return served
            error = SpeakerError(f"{replica.url} serves {', '.join(m.id for m in models)}, not {model}")
        raise error

    def place(self, tokens: int, *, spread: int) -> Placement:
        """Reserve room for a conversation of `tokens` tokens.

        Raises:
            NoReplicaError: no replica may be used now; retryable.
        """
        replica = choose_replica(self.replicas, time.monotonic(), spread)
        if replica is None:
            raise NoReplicaError(f"no engine answers at {', '.join(self._urls)}", retryable=True)
        replica.reserved_tokens += tokens
        return Placement(replica, tokens)

    def leave(self, placement: Placement, *, failed: bool = False) -> None:
        """End a placement; after a failure the replica is passed over for a while."""
        placement.replica.reserved_tokens -= placement.tokens
        if failed:
            placement.replica.refused_until = time.monotonic() + REFUSED_FOR_S


async def _addresses(url: str) -> list[str] | None:
    """The URL once for every address of its host; None where the host does not resolve now."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, parts.port, type=socket.SOCK_STREAM)
    except OSError:
        return None
    addresses = sorted({str(entry[4][0]) for entry in found})
    if parts.scheme == "https" or all(ipaddress.ip_address(address).is_loopback for address in addresses):
        return [url]
    port = f":{parts.port}" if parts.port else ""
    return [urlunsplit(parts._replace(netloc=_bracketed(address) + port)) for address in addresses]


def _bracketed(address: str) -> str:
    return f"[{address}]" if ipaddress.ip_address(address).version == 6 else address
