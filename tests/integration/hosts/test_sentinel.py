"""Redis behind Sentinel: its master is killed in the middle of a run, and a replica takes its place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from platolm.spec import RunSpec
from services.gateway.errors import StartError
from services.orchestrator.queue import check_redis
from services.orchestrator.redis_settings import RedisSettings
from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.chaos.stack import MODELS
from tests.integration.orchestrator.chaos.undisturbed import content, undisturbed
from tests.integration.orchestrator.processes import (
    Api,
    Process,
    api_of,
    api_process,
    wait_until,
    worker_process,
    writer_process,
)
from tests.sentinels import MASTER, Sentinels, sentinels

PASSWORD, SENTINEL_PASSWORD = "of-the-servers", "of-the-sentinels"
CONVERSATIONS, MAX_TURNS = 200, 6
PATIENCE_S = 100.0


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sentinels]:
    folder = tmp_path_factory.mktemp("sentinels")
    with sentinels(folder, password=PASSWORD, sentinel_password=SENTINEL_PASSWORD) as running:
        yield running


def settings_of(watched: Sentinels) -> dict[str, Any]:
    """As each process has them."""
    return {
        "redis_password": PASSWORD,
        "redis_sentinels": watched.addresses,
        "redis_master": MASTER,
        "redis_sentinel_password": SENTINEL_PASSWORD,
        "redis_timeout_s": 3,
    }


def test_settings_that_cannot_work_are_told(watched: Sentinels) -> None:
    right = settings_of(watched)
    check_redis(RedisSettings(**right))
    wrong = {
        "redis_master": ("other", "3 of the sentinels .* answered, and none knows a master 'other'"),
        "redis_sentinel_password": ("other", "refuses the password .* set REDIS_SENTINEL_PASSWORD"),
        "redis_password": ("other", f"{MASTER} of the sentinels .* refuses the password .* set REDIS_PASSWORD"),
    }
    for name, (value, reason) in wrong.items():
        with pytest.raises(StartError, match=reason):
            check_redis(RedisSettings(**{**right, name: value}))


@pytest.fixture
def parts(watched: Sentinels, tmp_path: Path, byte_tokenizer_folder: Path) -> Iterator[tuple[Api, Process]]:
    """An API and a worker of a whole orchestrator."""
    given = settings_of(watched)
    url = "redis://its.sentinels.say/0"
    with ExitStack() as cleanup:
        engines = [
            cleanup.enter_context(FakeEngine(byte_tokenizer_folder, model, latency_s=0.3).running())
            for model in MODELS.values()
        ]
        worker = worker_process(
            tmp_path, url, *(engine.url for engine in engines), lease_s=6, refresh_s=0.5, max_in_flight=32, **given
        )
        api = api_process(tmp_path, url, **given)
        writer = writer_process(tmp_path, url, segment_age_s=0.3, poll_interval_s=0.1, **given)
        for process in (api, writer, worker):
            cleanup.callback(process.end)
            process.launch()
        for process in (api, writer, worker):
            process.wait_ready(PATIENCE_S)
        yield api_of(api), worker


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_outlasts_its_master(watched: Sentinels, parts: tuple[Api, Process], byte_tokenizer_folder: Path) -> None:
    api, worker = parts
    body = {
        "conversations": CONVERSATIONS,
        "seed": 7,
        "endings": {"max_turns": MAX_TURNS, "repetition": False},
        "retries": {"attempts": 20},
        "output": {"segment_records": 16},
    }
    run_id = api.submit({"spec": body}).raise_for_status().json()["id"]
    wait_until(lambda: api.run(run_id)["finished"] >= CONVERSATIONS // 5, what="a fifth", timeout_s=PATIENCE_S)
    assert api.run(run_id)["state"] == "running", "it is too late to kill"
    master, replica = watched.servers
    master.kill()
    wait_until(lambda: watched.master_port() == replica.port, what="a failover", timeout_s=PATIENCE_S)
    progress = api.wait_completed(run_id, timeout_s=PATIENCE_S, log=worker.log)
    assert (progress["committed"], progress["dead"]) == (CONVERSATIONS, 0)
    records = api.dataset(run_id)
    assert sorted(record["index"] for record in records) == list(range(CONVERSATIONS))
    said_by = {role: FakeEngine(byte_tokenizer_folder, model) for role, model in MODELS.items()}
    expected = undisturbed(run_id, RunSpec.model_validate(progress["spec"]), said_by)
    assert {record["index"]: content(record) for record in records} == expected
    master.start()  # with its data; the sentinels make it a replica
