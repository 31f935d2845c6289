"""One stack over real vLLM and the demo pair for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.local_stack import RunningStack


@pytest.fixture(scope="package")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    running = RunningStack(tmp_path_factory.mktemp("stack"))
    running.start()
    yield running
    assert running.stop() == 0, running.log.read_text()[-3000:]
