"""Runs through the command's container while containers are killed, added, restarted and replaced: nothing is lost."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from platolm.conversation import USER
from platolm.runs import RunState
from tests.compose.dataset import cache_use, check_records, fetch
from tests.compose.docker import docker
from tests.compose.stack import IMAGES, NEXT_TAG, ComposeStack, build_next_images, wait_until

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]

CONVERSATIONS, TURNS, SEED = 200, 32, 20
UPGRADED_CONVERSATIONS, KEPT_CONVERSATIONS = 60, 4
RUN_TIMEOUT_S = 900.0
SPEC: dict[str, Any] = {
    "seed": SEED,
    "seed_mode": "question",
    "simulator": {"profile": "socratic", "sampling": {"max_tokens": 24}},
    "respondent": {"profile": "platolm", "sampling": {"max_tokens": 24}},
    "endings": {"max_turns": TURNS, "repetition": False, "user_ended": False},
    "limits": {"in_flight": 12},
    "output": {"segment_records": 16},
}
"""Short utterances, long conversations, few at a time: a run that lasts while things are done to it."""


def questions(count: int) -> list[str]:
    return [f"What is worth knowing about the number {number}?" for number in range(count)]


def write_run(stack: ComposeStack, name: str, count: int) -> list[str]:
    """Put a spec and its seeds where the command's container reads them; gives the command's arguments."""
    lines = [json.dumps({"question": question}) for question in questions(count)]
    (stack.seeds / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    (stack.seeds / f"{name}.yaml").write_text(yaml.safe_dump({**SPEC, "conversations": count, "name": name}))
    for file in stack.seeds.iterdir():
        file.chmod(0o644)
    return [f"/seeds/{name}.yaml", "--seeds", f"/seeds/{name}.jsonl"]


@pytest.fixture
def api(stack: ComposeStack) -> Iterator[httpx.Client]:
    with stack.api() as client:
        yield client


def progress_of(api: httpx.Client, run_id: str) -> dict[str, Any]:
    found: dict[str, Any] = api.get(f"/v1/runs/{run_id}").raise_for_status().json()
    return found


def is_over(api: httpx.Client, run_id: str) -> bool:
    state = RunState(progress_of(api, run_id)["state"])
    return state.is_over


def the_run(api: httpx.Client, name: str) -> str | None:
    runs = api.get("/v1/runs").raise_for_status().json()["runs"]
    return next((run["id"] for run in runs if run["spec"]["name"] == name), None)


def await_finished(api: httpx.Client, run_id: str, count: int) -> int:
    """Wait for so many finished conversations of a run that goes on; gives how many there are."""
    seen = 0

    def enough() -> bool:
        nonlocal seen
        progress = progress_of(api, run_id)
        assert not RunState(progress["state"]).is_over, "it is too late to do anything to the run"
        seen = int(progress["finished"])
        return seen >= count

    wait_until(enough, what=f"{count} conversations", timeout_s=RUN_TIMEOUT_S)
    return seen


def check_dataset(api: httpx.Client, run_id: str, count: int) -> list[dict[str, Any]]:
    progress = progress_of(api, run_id)
    told = (progress["state"], progress["committed"], progress["dead"])
    assert told == ("completed", count, 0)
    records = fetch(api, run_id)
    check_records(records, run_id, questions(count), seed=SEED, turns=TURNS)
    return records


def test_a_run_survives_what_happens_to_its_containers(
    stack: ComposeStack, api: httpx.Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "cli.log"
    command = stack.start_cli("run", *write_run(stack, "disturbed", CONVERSATIONS), "--json", log=log)
    try:
        wait_until(lambda: the_run(api, "disturbed"), what="the run", timeout_s=120)
        run_id = the_run(api, "disturbed")
        assert run_id is not None
        disturb(stack, api, run_id)
        assert command.wait(RUN_TIMEOUT_S) == 0, log.read_text()[-3000:]
    finally:
        end(command)
    records = check_dataset(api, run_id, CONVERSATIONS)
    use = cache_use(records, USER)
    with capsys.disabled():
        print(f"\nprompt tokens found in the caches of three simulators: {use.found:,} of {use.attainable:,}")
    assert use.attainable > 100 * CONVERSATIONS
    assert use.share >= 0.95, "conversations did not stay where they were placed"
    summary = json.loads(next(line for line in log.read_text().splitlines() if line.startswith("{")))
    assert (summary["finished"], summary["dead"]) == (CONVERSATIONS, 0)


def disturb(stack: ComposeStack, api: httpx.Client, run_id: str) -> None:
    """Kill one of two simulators, have three, start the worker and Redis again; each while the run goes on."""
    happenings: list[Callable[[], object]] = [
        lambda: docker("kill", stack.healthy("simulator")[0].id),
        lambda: stack.up(simulators=3),
        lambda: stack.compose("restart", "worker", timeout_s=180),
        lambda: stack.compose("restart", "redis", timeout_s=120),
    ]
    seen = await_finished(api, run_id, 10)
    for happen in happenings:
        happen()
        seen = await_finished(api, run_id, seen + 8)


def end(command: subprocess.Popen[bytes]) -> None:
    if command.poll() is None:
        command.terminate()
        command.wait(60)


def test_new_images_in_mid_run(stack: ComposeStack, api: httpx.Client) -> None:
    run_id = stack.cli("runs", "submit", *write_run(stack, "upgraded", UPGRADED_CONVERSATIONS)).split()[-1]
    await_finished(api, run_id, 10)
    before = {one.id for one in stack.containers()}
    build_next_images()
    stack.configure(PLATOLM_TAG=NEXT_TAG)
    stack.up(simulators=2)
    replaced = [one for one in stack.containers() if one.image.startswith(IMAGES) and one.service != "secrets"]
    assert {one.service for one in replaced} == {"api", "worker", "writer", "simulator", "respondent"}
    assert {one.image.rpartition(":")[2] for one in replaced} == {NEXT_TAG}
    assert before.isdisjoint(one.id for one in replaced)
    wait_until(lambda: is_over(api, run_id), what="the run's end", timeout_s=RUN_TIMEOUT_S)
    check_dataset(api, run_id, UPGRADED_CONVERSATIONS)


def test_down_and_up_keep_the_data(stack: ComposeStack, api: httpx.Client) -> None:
    run_id = stack.cli("runs", "submit", *write_run(stack, "kept", KEPT_CONVERSATIONS)).split()[-1]
    wait_until(lambda: is_over(api, run_id), what="the run's end", timeout_s=RUN_TIMEOUT_S)
    check_dataset(api, run_id, KEPT_CONVERSATIONS)
    key = stack.key()
    runs = api.get("/v1/runs").raise_for_status().json()["runs"]
    datasets = {run["id"]: fetch(api, run["id"]) for run in runs}
    stack.compose("down", timeout_s=300)
    assert stack.containers() == []
    stack.up(simulators=1)
    assert stack.key() == key
    assert api.get("/v1/runs").raise_for_status().json()["runs"] == runs
    assert {run["id"]: fetch(api, run["id"]) for run in runs} == datasets
