"""Links between hosts are cut and healed in the middle of a run, in both directions and in one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from platolm.spec import RunSpec
from tests.integration.hosts.network import why_not
from tests.integration.hosts.stack import ENGINES, ONE, PATIENCE_S, REDIS, TWO, HostsStack, hosts_stack
from tests.integration.orchestrator.chaos.acknowledged import Listener
from tests.integration.orchestrator.chaos.checks import check_acknowledged, check_dataset, check_nothing_left
from tests.integration.orchestrator.chaos.run import Aftermath, expected_of
from tests.integration.orchestrator.processes import wait_until

CONVERSATIONS, MAX_TURNS = 1000, 6


@pytest.fixture
def stack(tmp_path: Path, byte_tokenizer_folder: Path) -> Iterator[HostsStack]:
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    with hosts_stack(tmp_path, byte_tokenizer_folder) as stack:
        yield stack


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_a_run_outlasts_every_cut(stack: HostsStack, byte_tokenizer_folder: Path) -> None:
    began = time.monotonic()
    spec = RunSpec.model_validate(
        {
            "conversations": CONVERSATIONS,
            "seed": 20,
            "endings": {"max_turns": MAX_TURNS},
            "retries": {"attempts": 20},
            "output": {"segment_records": 64},
        }
    )
    with Listener(stack.redis.url, stack.key("events", "*")).listening() as listener:
        run_id = stack.api.submit({"spec": spec.model_dump(mode="json")}).raise_for_status().json()["id"]
        cuts: list[tuple[int, Callable[[HostsStack, str], None]]] = [
            (50, a_worker_from_everybody),
            (200, the_engines_from_everybody),
            (350, redis_from_everybody),
            (500, what_a_worker_sends_to_redis),
            (650, what_a_worker_sends_to_the_engines),
        ]
        for finished, cut in cuts:
            wait_finished(stack, run_id, finished)
            assert state_of(stack, run_id) == "running", "it is too late to cut"
            cut(stack, run_id)
            print(f"{cut.__name__}: healed after {time.monotonic() - began:.0f} s")
        progress = stack.api.wait_completed(run_id, timeout_s=PATIENCE_S)
    aftermath = Aftermath(
        run_id=run_id,
        spec=spec,
        progress=progress,
        records=stack.api.dataset(run_id),
        asked=stack.asked(),
        acknowledged=dict(listener.acknowledged),
        killed=[],
        keys_left=sorted(stack.client.scan_iter()),
        seconds=time.monotonic() - began,
    )
    check_dataset(aftermath, expected_of(aftermath, byte_tokenizer_folder))
    check_nothing_left(aftermath)
    asked = check_acknowledged(aftermath)
    twice = [position for position, times in aftermath.acknowledged.items() if len(times) > 1]
    assert not twice, "recorded by two workers: a claim that was taken over was still written under"
    repeated = sum(len(times) - 1 for times in asked.values())
    print(f"{len(asked)} utterances, {repeated} asked for again; {aftermath.seconds:.0f} s")


def a_worker_from_everybody(stack: HostsStack, _run_id: str) -> None:
    """Its claims expire and are taken over; when it is back it starts over."""
    cut_off, other = stack.workers[ONE], stack.workers[TWO]
    reclaimed, lost = other.logged("claims_reclaimed"), cut_off.logged("lease_lost")
    stack.hosts[ONE].cut()
    other.wait_for("claims_reclaimed", after=reclaimed)
    cut_off.wait_for("redis_away", after=0)
    stack.hosts[ONE].heal()
    cut_off.wait_for("lease_lost", after=lost)


def the_engines_from_everybody(stack: HostsStack, run_id: str) -> None:
    """No request hangs: each worker notices, and the run waits until the engines are back."""
    stack.hosts[ENGINES].cut()
    wait_until(lambda: state_of(stack, run_id) == "paused", what="a pause", timeout_s=PATIENCE_S)
    stack.hosts[ENGINES].heal()
    wait_until(lambda: state_of(stack, run_id) == "running", what="an end of the pause", timeout_s=PATIENCE_S)


def redis_from_everybody(stack: HostsStack, _run_id: str) -> None:
    """No call hangs: each worker notices within its timeouts, although nobody sends it a reset."""
    before = {name: worker.logged("redis_away") for name, worker in stack.workers.items()}
    stack.hosts[REDIS].cut()
    for name, worker in stack.workers.items():
        worker.wait_for("redis_away", after=before[name])
    stack.hosts[REDIS].heal()


def what_a_worker_sends_to_redis(stack: HostsStack, _run_id: str) -> None:
    """It hears Redis and is not heard: others take over; what it has sent meanwhile comes late, and is refused."""
    cut_off, other = stack.workers[TWO], stack.workers[ONE]
    reclaimed, lost = other.logged("claims_reclaimed"), cut_off.logged("lease_lost")
    stack.hosts[TWO].lose_what_goes_to(stack.hosts[REDIS])
    other.wait_for("claims_reclaimed", after=reclaimed)
    stack.hosts[TWO].find_again(stack.hosts[REDIS])
    cut_off.wait_for("lease_lost", after=lost)


def what_a_worker_sends_to_the_engines(stack: HostsStack, run_id: str) -> None:
    """The other worker reaches them, so that the run does not pause."""
    cut_off = stack.workers[ONE]
    stack.hosts[ONE].lose_what_goes_to(stack.hosts[ENGINES])
    cut_off.wait_for("engines_out_of_reach_here", after=0)
    assert state_of(stack, run_id) == "running"
    finished = finished_of(stack, run_id)
    wait_finished(stack, run_id, finished + 1)
    stack.hosts[ONE].find_again(stack.hosts[ENGINES])


def wait_finished(stack: HostsStack, run_id: str, at_least: int) -> None:
    what = f"{at_least} conversations"
    wait_until(lambda: finished_of(stack, run_id) >= at_least, what=what, timeout_s=PATIENCE_S)


def finished_of(stack: HostsStack, run_id: str) -> int:
    return int(stack.api.run(run_id)["finished"])


def state_of(stack: HostsStack, run_id: str) -> str:
    return str(stack.api.run(run_id)["state"])
