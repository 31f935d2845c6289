"""No settings of the machine that runs the tests."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(autouse=True)
def _nothing_told_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PLATOLM_")]:
        monkeypatch.delenv(name)
