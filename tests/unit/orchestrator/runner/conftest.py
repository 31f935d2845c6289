"""One conversation on a stage."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import aiohttp
import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.orchestrator.engines.replicas import Pools, Replicas
from tests.unit.orchestrator.runner.stage import OTHER, RESPONDENT, SIMULATOR, Stage
from tests.unit.orchestrator.stub_engines import StubEngines


@pytest.fixture(scope="module")
def tokenizer(byte_tokenizer_folder: Path) -> HubTokenizer:
    return load_tokenizer(byte_tokenizer_folder)


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.orchestrator.conversations.retries.FIRST_RETRY_S", 0.0)
    monkeypatch.setattr("services.orchestrator.queue.outages._FIRST_RETRY_S", 0.0)


@pytest.fixture
async def stage(tokenizer: HubTokenizer, monkeypatch: pytest.MonkeyPatch) -> Stage:
    engines = StubEngines().installed(monkeypatch)
    replicas = Replicas(cast("aiohttp.ClientSession", None), hang_after_s=60)
    pools = Pools(replicas, {USER: [SIMULATOR], ASSISTANT: [RESPONDENT, OTHER]})
    await pools.refresh()
    return Stage(tokenizer, engines, pools)
