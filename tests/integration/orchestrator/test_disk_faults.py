"""Datasets' disks that fill up, become read-only or go away under a whole stack at work."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.chaos.undisturbed import content
from tests.integration.orchestrator.processes import wait_until
from tests.integration.orchestrator.small_stack import SmallStack, Workers, repeats, small_stack, workers_of
from tests.integration.orchestrator.test_writer import fill, small_disk

CONVERSATIONS = 60
LATENCY_S = 0.1


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """Under the data folder, a file system of one MiB that outlives the stack."""
    with ExitStack() as unmounting:
        yield small_disk(tmp_path / "data", unmounting)


@pytest.fixture
def stack(tmp_path: Path, byte_tokenizer_folder: Path) -> Iterator[SmallStack]:
    with small_stack(tmp_path, byte_tokenizer_folder) as stack:
        yield stack


@pytest.fixture
def workers(stack: SmallStack, tmp_path: Path, simulator: FakeEngine, respondent: FakeEngine) -> Iterator[Workers]:
    simulator.latency_s = respondent.latency_s = LATENCY_S
    with workers_of(stack, tmp_path) as workers:
        workers.start([simulator], [respondent])
        yield workers


def remount(disk: Path, how: str) -> None:
    """As soon as nobody is in the middle of writing a file there."""
    mount = ["mount", "-o", f"remount,{how}", str(disk)]
    wait_until(lambda: subprocess.run(mount, capture_output=True, check=False).returncode == 0, what=f"remounted {how}")


def get(stack: SmallStack, path: str) -> httpx.Response:
    return httpx.get(f"{stack.api.url}{path}", timeout=30)


def check_paused(stack: SmallStack, run_id: str, reason: str) -> dict[str, Any]:
    """The run waits with all that was said, and what was committed can be read; gives its progress."""
    assert reason in stack.wait_paused(run_id, "writer")
    progress = stack.wait(run_id, lambda run: run["in_flight"] == 0, "conversations given back")
    assert progress["committed"] > 0
    assert sorted(record["index"] for record in stack.api.dataset(run_id)) == [
        record["index"] for record in stack.records(run_id)
    ]
    assert get(stack, f"/v1/runs/{run_id}/conversations?limit=1000").status_code == 200
    assert get(stack, "/readyz").status_code == 200
    assert has_problem(stack)
    return progress


def check_goes_on(stack: SmallStack, run_id: str, *engines: FakeEngine) -> None:
    """By itself, to a dataset as if nothing had happened, without a word said twice."""
    stack.check_completed(run_id)
    assert repeats(*engines) == 0
    assert not has_problem(stack)


def has_problem(stack: SmallStack) -> bool:
    """Whether the writer tells its metrics' readers of a dataset that it cannot write."""
    metrics = httpx.get(stack.writer.ready_url.replace("readyz", "metrics"), timeout=30)
    return "\nplatolm_writer_problem 1.0\n" in metrics.text


def check_cannot_submit(stack: SmallStack, reason: str) -> None:
    before = len(stack.api.runs())
    refused = stack.api.submit({"spec": {"conversations": 1}})
    assert refused.status_code == 507
    assert reason in refused.json()["detail"]
    assert len(stack.api.runs()) == before


def test_a_disk_that_is_full(
    disk: Path, stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    run_id = stack.submit(CONVERSATIONS)
    stack.wait(run_id, lambda run: run["committed"] >= 5, "commits")
    fill(disk / "ballast")
    progress = check_paused(stack, run_id, "No space left on device")
    assert progress["committed"] < CONVERSATIONS
    check_cannot_submit(stack, "No space left on device")
    committed = {record["index"]: content(record) for record in stack.records(run_id)}
    (disk / "ballast").unlink()
    check_goes_on(stack, run_id, simulator, respondent)
    after = {record["index"]: content(record) for record in stack.records(run_id)}
    assert {index: after[index] for index in committed} == committed
    assert not list((stack.data_dir / "runs" / run_id).rglob(".*")), "no half-written files are left"


def test_a_disk_that_is_read_only(
    disk: Path, stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine
) -> None:
    run_id = stack.submit(CONVERSATIONS)
    stack.wait(run_id, lambda run: run["committed"] >= 5, "commits")
    remount(disk, "ro")
    progress = check_paused(stack, run_id, "Read-only file system")
    check_cannot_submit(stack, "Read-only file system")
    for record in unwritten(stack, run_id):
        assert record["index"] not in {written["index"] for written in stack.records(run_id)}
    assert len(unwritten(stack, run_id)) == progress["finished"] - progress["committed"] > 0
    remount(disk, "rw")
    check_goes_on(stack, run_id, simulator, respondent)


def unwritten(stack: SmallStack, run_id: str) -> list[dict[str, Any]]:
    """Records that wait for the dataset, each read by its id."""
    written = {record["index"] for record in stack.records(run_id)}
    listed = get(stack, f"/v1/runs/{run_id}/conversations?state=finished&limit=1000").json()["conversations"]
    waiting = [conversation["id"] for conversation in listed if conversation["index"] not in written]
    return [
        get(stack, f"/v1/conversations/{conversation}").raise_for_status().json()["record"] for conversation in waiting
    ]


def test_a_folder_that_is_replaced_by_an_empty_one(
    stack: SmallStack, workers: Workers, simulator: FakeEngine, respondent: FakeEngine, tmp_path: Path
) -> None:
    """As when a disk is unmounted: the run waits for it, another run does not."""
    run_id = stack.submit(CONVERSATIONS)
    stack.wait(run_id, lambda run: run["committed"] >= 5, "commits")
    folder, away = stack.data_dir / "runs" / run_id, tmp_path / "away"
    folder.rename(away)
    folder.mkdir()
    assert "No such file or directory" in stack.wait_paused(run_id, "writer")
    stack.wait(run_id, lambda run: run["in_flight"] == 0, "conversations given back")
    other = stack.submit(8, seed=1)
    stack.check_completed(other)
    assert list(folder.iterdir()) == []
    assert stack.api.run(run_id)["state"] == "paused"
    folder.rmdir()
    away.rename(folder)
    check_goes_on(stack, run_id, simulator, respondent)
