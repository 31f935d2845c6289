"""Replicas whose engines, addresses and clock tests set."""

from __future__ import annotations

import socket
from typing import cast

import aiohttp
import pytest

from services.orchestrator.engines.replicas import (
    Replicas,
)
from tests.unit.orchestrator.replicas.engines import HANG_AFTER_S, Resolver
from tests.unit.orchestrator.stopped_clock import StoppedClock
from tests.unit.orchestrator.stub_engines import StubEngines


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> StoppedClock:
    stopped = StoppedClock()
    monkeypatch.setattr("services.orchestrator.engines.replicas.time", stopped)
    return stopped


@pytest.fixture
def engines(monkeypatch: pytest.MonkeyPatch) -> StubEngines:
    return StubEngines().installed(monkeypatch)


@pytest.fixture
def replicas(engines: StubEngines) -> Replicas:
    return Replicas(cast("aiohttp.ClientSession", None), hang_after_s=HANG_AFTER_S)


@pytest.fixture
def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    known = Resolver()
    monkeypatch.setattr(socket, "getaddrinfo", known.getaddrinfo)
    return known
