"""Carries out a plan of kills, each role in a thread of its own, and notes what was in flight at each."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.integration.orchestrator.chaos.plan import Kill, Role
from tests.integration.orchestrator.chaos.stack import Stack
from tests.integration.orchestrator.chaos.victims import Victim

_POLL_S = 0.02


@dataclass(frozen=True)
class Killed:
    """A SIGKILL that took place; `in_flight` is how many utterances it may have cost, a Redis' lost seconds aside."""

    kill: Kill
    at: float
    in_flight: int = 0


@dataclass
class Scene:
    """What the threads share. `progress` is the share of conversations that have ended."""

    stack: Stack
    run_id: str
    progress: float = 0.0
    killed: list[Killed] = field(default_factory=list)
    overdue: dict[Role, float] = field(default_factory=dict)
    """By role, since what progress its next kill is due."""
    errors: list[BaseException] = field(default_factory=list)

    @property
    def lateness(self) -> float:
        """By what share of the run the latest role is behind the plan."""
        return max((self.progress - due for due in self.overdue.values()), default=0.0)


class Assassin:
    """Kills one role's processes, one after another."""

    def __init__(self, scene: Scene, role: Role, kills: list[Kill]) -> None:
        self._scene = scene
        self._stack = scene.stack
        self._role = role
        self._kills = kills
        self._thread = threading.Thread(target=self._run, name=f"kills-{role}")

    def start(self) -> None:
        self._thread.start()

    def is_busy(self) -> bool:
        return self._thread.is_alive()

    def wait(self) -> None:
        self._thread.join()

    def _run(self) -> None:
        try:
            for number, kill in enumerate(self._kills):
                self._scene.overdue[self._role] = kill.due
                while self._scene.progress < kill.due:
                    if self._scene.errors:
                        return
                    time.sleep(_POLL_S)
                self._carry_out(kill, number)
        except BaseException as error:
            self._scene.errors.append(error)
        finally:
            self._scene.overdue.pop(self._role, None)

    def _carry_out(self, kill: Kill, number: int) -> None:
        if self._role is Role.REDIS:
            self._kill_redis(kill)
        elif self._role is Role.WORKER:
            victim = self._stack.workers[number % len(self._stack.workers)]
            self._kill_process(kill, victim, lambda: self._stack.claims_of(victim.pid))
        else:
            victim = self._stack.api if self._role is Role.API else self._stack.writer
            self._kill_process(kill, victim, lambda: 0)

    def _kill_process(self, kill: Kill, victim: Victim, in_flight: Callable[[], int]) -> None:
        """At any instant, or at a crash point; what it had in flight is counted when it does nothing more."""
        victim.wait_ready()
        if kill.crash_at is None:
            time.sleep(kill.delay_s)
            victim.freeze()
            self._note(kill, in_flight())
            victim.kill()
        else:
            victim.end()
            self._let_crash(kill.crash_at, victim)
            self._note(kill, in_flight())
        victim.launch()

    def _let_crash(self, crash_at: str, victim: Victim) -> None:
        while True:
            victim.launch(crash_at)
            if crash_at.startswith("worker.before_release"):  # passed by a worker that stops with something in hand
                victim.wait_ready()
                deadline = time.monotonic() + 10
                while not self._stack.claims_of(victim.pid) and time.monotonic() < deadline:
                    time.sleep(_POLL_S)
                victim.ask_to_stop()
            if victim.wait_killed():
                return

    def _kill_redis(self, kill: Kill) -> None:
        """What the kill leaves of its file, or less: what a machine that loses power may lose of the last second."""
        size = self._stack.server.log_bytes()
        time.sleep(kill.lost_s)
        claimed = int(self._stack.run_fields(self._scene.run_id).get("claimed", 0))
        self._stack.server.kill()
        self._note(kill, claimed)
        if kill.lost_s:
            self._stack.server.forget_beyond(size)
        time.sleep(kill.delay_s)
        self._stack.server.start()

    def _note(self, kill: Kill, in_flight: int) -> None:
        self._scene.killed.append(Killed(kill, time.monotonic(), in_flight))
