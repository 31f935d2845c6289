"""The object store that a dataset is written to is killed and started again in the middle of the run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from platolm.spec import RunSpec
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
from tests.lasting_store import LastingStore
from tests.local_stack import REPOSITORY
from tests.redis_server import RedisServer

BUCKET, CONVERSATIONS, MAX_TURNS = "s3://datasets", 150, 6
PATIENCE_S = 100.0


@dataclass
class Parts:
    """An orchestrator whose datasets go to a store."""

    store: LastingStore
    env: dict[str, str]
    api: Api
    writer: Process


@pytest.fixture
def parts(tmp_path: Path, byte_tokenizer_folder: Path) -> Iterator[Parts]:
    with ExitStack() as cleanup:
        store = LastingStore(tmp_path / "store")
        cleanup.callback(store.end)
        running = store.start()
        running.make_bucket("datasets")
        redis = RedisServer(tmp_path / "redis")
        redis.start()
        cleanup.callback(redis.stop)
        engines = [
            cleanup.enter_context(FakeEngine(byte_tokenizer_folder, model, latency_s=0.2).running())
            for model in MODELS.values()
        ]
        api = api_process(tmp_path, redis.url, allowed_outputs=BUCKET)
        writer = writer_process(
            tmp_path, redis.url, allowed_outputs=BUCKET, segment_age_s=0.3, poll_interval_s=0.1, max_unwritten=40
        )
        worker = worker_process(tmp_path, redis.url, *(engine.url for engine in engines), lease_s=6, max_in_flight=16)
        for process in (api, writer, worker):
            process.env |= running.env
            cleanup.callback(process.end)
            process.launch()
        for process in (api, writer, worker):
            process.wait_ready(PATIENCE_S)
        yield Parts(store, running.env, api_of(api), writer)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_writer_waits_for_the_store_and_loses_nothing(
    parts: Parts, tmp_path: Path, byte_tokenizer_folder: Path
) -> None:
    api, url = parts.api, f"{BUCKET}/mine"
    body = {
        "conversations": CONVERSATIONS,
        "seed": 11,
        "endings": {"max_turns": MAX_TURNS, "repetition": False},
        "output": {"url": url, "segment_records": 8},
    }
    run_id = api.submit({"spec": body}).raise_for_status().json()["id"]
    wait_until(lambda: api.run(run_id)["committed"] >= CONVERSATIONS // 5, what="a fifth", timeout_s=PATIENCE_S)
    parts.store.kill()
    wait_until(lambda: api.run(run_id)["state"] == "paused", what="a pause", timeout_s=PATIENCE_S)
    before = api.run(run_id)
    assert before["committed"] < CONVERSATIONS, "it is too late to kill"
    assert before["pause"]["by"] == "writer"
    assert f"{url}/" in before["pause"]["reason"]
    assert "cannot be reached" in before["pause"]["reason"]
    parts.store.start()
    progress = api.wait_completed(run_id, timeout_s=PATIENCE_S, log=parts.writer.log)
    assert (progress["committed"], progress["dead"]) == (CONVERSATIONS, 0)
    records = api.dataset(run_id)
    assert sorted(record["index"] for record in records) == list(range(CONVERSATIONS))
    said_by = {role: FakeEngine(byte_tokenizer_folder, model) for role, model in MODELS.items()}
    expected = undisturbed(run_id, RunSpec.model_validate(progress["spec"]), said_by)
    assert {record["index"]: content(record) for record in records} == expected
    check_handing_on(parts, f"{url}/{run_id}", tmp_path)


def check_handing_on(parts: Parts, url: str, folder: Path) -> None:
    """The data tools read it where it is."""
    platolm(parts, "stats", url, "--embeddings", "none", "--processes", "1", "--json", str(folder / "stats.json"))
    statistics = json.loads((folder / "stats.json").read_text())["dataset"]
    told = statistics["name"], statistics["paths"], statistics["conversations"]
    assert told == (url.rpartition("/")[2], [url], CONVERSATIONS)
    platolm(parts, "export", url, "--out", str(folder / "exported"), "--no-statistics")
    exported = json.loads((folder / "exported" / "data" / "train.json").read_text())
    assert len(exported) == CONVERSATIONS
    nothing = platolm(parts, "stats", f"{BUCKET}/none", expected_status=2)
    assert f"{BUCKET}/none holds no run" in nothing


def platolm(parts: Parts, *args: str, expected_status: int = 0) -> str:
    """The command line as a user runs it; gives its errors."""
    env = {**os.environ, **parts.env, "PYTHONPATH": str(REPOSITORY)}
    argv = [sys.executable, "-m", "platolm", *args]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == expected_status, done.stderr
    return done.stderr
