"""One stack for the folder's tests, each with its own workers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.orchestrator.outside.outside_stack import OutsideStack, anew, outside_stack


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OutsideStack]:
    with outside_stack(tmp_path_factory.mktemp("outside")) as outside:
        yield outside


@pytest.fixture
def outside(running: OutsideStack, tmp_path: Path) -> Iterator[OutsideStack]:
    """The stack with its APIs as at first; the test's workers and runs end with it."""
    mine = anew(running, tmp_path)
    try:
        yield mine
    finally:
        mine.stack.cancel_all()
        for worker in mine.workers:
            worker.end()
