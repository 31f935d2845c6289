"""The API's client: what it asks for page by page."""

from __future__ import annotations

import pytest

from platolm import client
from platolm.client import OrchestratorClient
from platolm.spec import RunRequest, RunSpec
from tests.unit.cli.fake_api import FakeApi

PAGE = 3


@pytest.mark.parametrize("num_segments", [0, 1, 2, 3, 4, 6, 7])
@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_manifest_of_any_length_is_read_to_its_end(
    num_segments: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "MANIFEST_PAGE", PAGE)
    api = FakeApi(segment_size=1, interval_s=None)
    await api.start()
    try:
        async with OrchestratorClient(api.url) as orchestrator:
            run = await orchestrator.submit(RunRequest(spec=RunSpec(conversations=7)), idempotency_key="k")
            for _ in range(num_segments):
                api.only_run.commit(1)
            entries = await orchestrator.manifest(run.id, after=after)
    finally:
        await api.stop()
    assert [entry.number for entry in entries] == list(range(after + 1, num_segments + 1))
