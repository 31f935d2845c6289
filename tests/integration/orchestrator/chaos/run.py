"""One chaos run from its submission to its end, and all that is known of it afterwards."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from platolm.spec import RunSpec
from tests.fakes.engine import FakeEngine
from tests.fakes.engine_process import Asked
from tests.integration.orchestrator.chaos.acknowledged import Listener, Position
from tests.integration.orchestrator.chaos.assassins import Assassin, Killed, Scene
from tests.integration.orchestrator.chaos.plan import Kill, Role, at_submission, plan_kills
from tests.integration.orchestrator.chaos.stack import ENDS_ONE_IN, MODELS, Stack, chaos_stack
from tests.integration.orchestrator.chaos.undisturbed import Record, undisturbed

MAX_TURNS = 16
FAULT_RATE = 0.02
FAST_S, SLOW_S = 0.03, 1.0
"""Engines' mean latency: slow where the kills are behind the conversations, so that they hit all of the run."""
ALLOWED_LATENESS = 0.02
DURABLE_AFTER_S = 3.0
"""A Redis that is killed may lose its last seconds, a run that was made in them included."""


@dataclass(frozen=True)
class Options:
    """`seed` decides the plan and the run's own seed; the machine's timing decides the rest."""

    conversations: int
    kills: int
    seed: int
    timeout_s: float = 330.0


@dataclass
class Aftermath:
    """What a run left: its records by the API, the engines' logs, Redis' acknowledgements, the kills."""

    run_id: str
    spec: RunSpec
    progress: dict[str, Any]
    records: list[dict[str, Any]]
    asked: list[Asked]
    acknowledged: dict[Position, list[float]]
    killed: list[Killed]
    keys_left: list[str]
    seconds: float


def run_chaos(folder: Path, tokenizer_folder: Path, options: Options) -> Aftermath:
    """Submit a run, kill as planned, wait for its end."""
    began = time.monotonic()
    chance = random.Random(options.seed)
    plan = plan_kills(chance, options.kills) if options.kills else {}
    spec = _spec(chance, options.conversations)
    faults = {"fault_rate": FAULT_RATE, "latency_s": SLOW_S} if options.kills else {}
    with chaos_stack(folder, tokenizer_folder, seed=options.seed, **faults) as stack:
        for victim in (stack.writer, *stack.workers):
            victim.launch()
        with Listener(stack.server.url, stack.key("events", "*")).listening() as listener:
            run_id, killed = _submit(stack, spec, [kill for kill in plan.get(Role.API, []) if at_submission(kill)])
            time.sleep(DURABLE_AFTER_S if options.kills else 0.0)
            scene = Scene(stack, run_id, killed=killed)
            _let_them(scene, _assassins(scene, plan), spec.conversations, began + options.timeout_s)
        stack.api.wait_ready()
        return Aftermath(
            run_id=run_id,
            spec=spec,
            progress=stack.http.run(run_id),
            records=stack.http.dataset(run_id),
            asked=[asked for engine in stack.engines for asked in engine.asked()],
            acknowledged=dict(listener.acknowledged),
            killed=scene.killed,
            keys_left=sorted(stack.client.scan_iter()),
            seconds=time.monotonic() - began,
        )


def expected_of(aftermath: Aftermath, tokenizer_folder: Path) -> dict[int, Record]:
    """What the run would have said undisturbed."""
    engines = {role: FakeEngine(tokenizer_folder, model, ends_one_in=ENDS_ONE_IN) for role, model in MODELS.items()}
    return undisturbed(aftermath.run_id, aftermath.spec, engines)


def _spec(chance: random.Random, conversations: int) -> RunSpec:
    return RunSpec.model_validate(
        {
            "conversations": conversations,
            "seed": chance.getrandbits(40),
            "endings": {"max_turns": MAX_TURNS},
            "retries": {"attempts": 20},
            "output": {"segment_records": 32},
        }
    )


def _assassins(scene: Scene, plan: Mapping[Role, list[Kill]]) -> list[Assassin]:
    return [Assassin(scene, role, [kill for kill in kills if not at_submission(kill)]) for role, kills in plan.items()]


def _submit(stack: Stack, spec: RunSpec, kills: list[Kill]) -> tuple[str, list[Killed]]:
    """Submit once, under one key, through an API that dies at each of these points first."""
    body, key = {"spec": spec.model_dump(mode="json")}, {"Idempotency-Key": "the only one"}
    killed = []
    for kill in kills:
        stack.api.launch(kill.crash_at)
        stack.api.wait_ready()
        with contextlib.suppress(httpx.TransportError):
            answer = stack.http.submit(body, **key)
            raise AssertionError(f"{kill.crash_at} was not passed: {answer.text}")
        assert stack.api.wait_killed()
        killed.append(Killed(kill, time.monotonic()))
    stack.api.launch()
    stack.api.wait_ready()
    response = stack.http.submit(body, **key)
    assert response.status_code in (200, 201), response.text
    [run] = httpx.get(f"{stack.http.url}/v1/runs", timeout=30).raise_for_status().json()["runs"]
    assert run["id"] == response.json()["id"], "one key, one run"
    return str(run["id"]), killed


def _let_them(scene: Scene, assassins: list[Assassin], conversations: int, deadline: float) -> None:
    """Until the run is over and every kill has taken place."""
    for assassin in assassins:
        assassin.start()
    with _paced(scene):
        while not scene.errors:
            fields = scene.stack.run_fields(scene.run_id)
            scene.progress = max(scene.progress, int(fields.get("finished", 0)) / conversations)
            if fields.get("state") == "completed" and not any(assassin.is_busy() for assassin in assassins):
                break
            if time.monotonic() > deadline:
                scene.errors.append(AssertionError(f"not over in time: {fields}, next kills at {scene.overdue}"))
            time.sleep(0.1)
    for assassin in assassins:
        assassin.wait()
    if scene.errors:
        raise scene.errors[0]


@contextlib.contextmanager
def _paced(scene: Scene) -> Iterator[None]:
    """Keeps the conversations from running ahead of the kills."""
    over = threading.Event()

    def pace() -> None:
        slow: bool | None = None
        while not over.wait(0.2):
            wanted = scene.lateness > ALLOWED_LATENESS
            if wanted != slow:
                scene.stack.set_engines(latency_s=SLOW_S if wanted else FAST_S)
                slow = wanted

    thread = threading.Thread(target=pace, name="pace")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
