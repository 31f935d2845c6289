"""What the API's description allows and forbids is sent to a real API on a real Redis: no 5xx, no answer beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.integration.orchestrator.processes import Process, api_process
from tests.redis_server import RedisServer

KEY = "a-key-for-this-test"
AUTHORIZATION = f"Bearer {KEY}"
EVENTS = "events$"
"""Ends with the run: only asked of runs that are over."""
ENDLESS = "/live$"
"""Has no end that could be waited for."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "negative_data_rejection",
    "missing_required_header",
    "unsupported_method",
    "ignored_auth",
)

SETTINGS = """
[checks.negative_data_rejection]
expected-statuses = [400, 401, 404, 405, 409, 413, 415, 422, "5xx"]
"""
"""Besides the usual answers to wrong requests: what is wrong with some is their size."""

HOOKS = '''
import itertools, os, re
import schemathesis

RUN_ID = re.compile("[a-z0-9][a-z0-9-]{2,63}")
CONVERSATION_ID = re.compile("[a-z0-9][a-z0-9-]{2,63}-[0-9]{8,9}")
RUNS = os.environ["RUN_IDS"].split(",")
turns = itertools.count()


@schemathesis.hook
def map_path_parameters(context, path_parameters):
    """Every second time instead of an id that could exist one that does, so that more than refusals are seen."""
    turn = next(turns)
    if path_parameters and turn % 2:
        run = RUNS[turn // 2 % len(RUNS)]
        if RUN_ID.fullmatch(str(path_parameters.get("run_id", ""))):
            path_parameters["run_id"] = run
        if CONVERSATION_ID.fullmatch(str(path_parameters.get("conversation_id", ""))):
            path_parameters["conversation_id"] = f"{run}-{turn % 5:08d}"
    return path_parameters
'''


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    redis = RedisServer(tmp_path_factory.mktemp("redis"))
    redis.start()
    process = api_process(tmp_path_factory.mktemp("api"), redis.url, api_keys=KEY).start()
    yield process
    process.end()
    redis.stop()


def submitted(api: Process, *, cancelled: bool) -> str:
    with httpx.Client(base_url=url_of(api), headers={"Authorization": AUTHORIZATION}) as client:
        run_id = str(client.post("/v1/runs", json={"spec": {"conversations": 3}}).json()["id"])
        if cancelled:
            client.post(f"/v1/runs/{run_id}/cancel").raise_for_status()
        return run_id


def url_of(api: Process) -> str:
    return api.ready_url.removesuffix("/readyz")


def probe(api: Process, folder: Path, run_ids: list[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run Schemathesis in a process of its own, where its plugins and hooks stay."""
    (folder / "hooks.py").write_text(HOOKS)
    (folder / "schemathesis.toml").write_text(SETTINGS)
    environment = {
        **os.environ,
        "RUN_IDS": ",".join(run_ids),
        "SCHEMATHESIS_HOOKS": "hooks",
        "PYTHONPATH": str(folder),
        "PYTHONWARNINGS": "",
    }
    argv = [
        sys.executable, "-m", "schemathesis.cli", "run", f"{url_of(api)}/openapi.json", "--seed", "1",
        "--header", f"Authorization:{AUTHORIZATION}", "--checks", ",".join(CHECKS), "--request-timeout", "20",
        "--warnings", "off", *options,
    ]  # fmt: skip
    return subprocess.run(argv, env=environment, cwd=folder, capture_output=True, text=True, timeout=240)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_description_holds(api: Process, tmp_path: Path) -> None:
    run_ids = [submitted(api, cancelled=cancelled) for cancelled in (False, True, False)]
    left_out = f"{EVENTS}|{ENDLESS}"
    result = probe(api, tmp_path, run_ids, "--exclude-path-regex", left_out, "--max-examples", "20", "--max-time", "90")
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert "Traceback" not in api.log.read_text()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_description_of_events_holds(api: Process, tmp_path: Path) -> None:
    run_ids = [submitted(api, cancelled=True)]
    result = probe(api, tmp_path, run_ids, "--include-path-regex", EVENTS, "--max-examples", "20")
    assert result.returncode == 0, result.stdout[-8000:] + result.stderr[-2000:]
    assert "Traceback" not in api.log.read_text()
