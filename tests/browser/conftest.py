"""One browser and one small stack for all tests of this folder, a context and quiet engines for each."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import pytest
from playwright.sync_api import Browser

from tests.browser.chromium import Watched, chromium, chromium_path, watched
from tests.browser.small_dashboard import Dashboard, small_dashboard
from tests.fakes.tokenizer import CHAT_TOKENS, save_byte_tokenizer
from tests.integration.orchestrator.processes import Process, api_process
from tests.redis_server import RedisServer

KEY = "a-key-for-these-tests"


class Tabs(Protocol):
    """Opens contexts that end with the test, which fails where one of them has faults."""

    def __call__(self, url: str | None = None, **settings: Any) -> Watched: ...


@dataclass(frozen=True)
class Locked:
    """An API that asks for `KEY`, over a Redis without runs."""

    url: str
    process: Process


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    if chromium_path() is None:
        pytest.skip("no chromium on this system: install Debian's package `chromium`")
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="package")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dashboard]:
    tokenizer_folder = save_byte_tokenizer(tmp_path_factory.mktemp("chat-tokenizer"), CHAT_TOKENS)
    with small_dashboard(tmp_path_factory.mktemp("dashboard"), tokenizer_folder) as dashboard:
        yield dashboard


@pytest.fixture
def dashboard(small: Dashboard) -> Iterator[Dashboard]:
    yield small
    small.calm_down()


@pytest.fixture
def tabs(browser: Browser, dashboard: Dashboard) -> Iterator[Tabs]:
    opened: list[Watched] = []
    with ExitStack() as ending:

        def open_context(url: str | None = None, **settings: Any) -> Watched:
            opened.append(ending.enter_context(watched(browser, url or dashboard.url, **settings)))
            return opened[-1]

        yield open_context
    assert [fault for context in opened for fault in context.faults] == []


@pytest.fixture
def tab(tabs: Tabs) -> Watched:
    """A wide, light one on the small stack."""
    return tabs()


@pytest.fixture(scope="package")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Locked]:
    folder = tmp_path_factory.mktemp("locked")
    redis = RedisServer(folder / "redis")
    redis.start()
    process = api_process(folder, redis.url, api_keys=KEY, log_level="WARNING").start()
    yield Locked(process.ready_url.removesuffix("/readyz"), process)
    process.end()
    redis.stop()
