"""Which processes are killed in a run, where, and when."""

from __future__ import annotations

import random
from dataclasses import dataclass
from enum import StrEnum

from services.orchestrator.crash_points import CRASH_POINTS

LAST_KILL_AT = 0.9
"""Share of the conversations that have ended when the last kill is due."""

MOST_LOST_S = 1.5
"""`appendfsync everysec` promises no more than that a second or two are lost."""


class Role(StrEnum):
    WORKER = "worker"
    WRITER = "writer"
    API = "api"
    REDIS = "redis"


_SHARES = {Role.WORKER: 8, Role.WRITER: 5, Role.API: 3, Role.REDIS: 5}
"""How kills at no special place are shared out."""

_MOST_PASSES = {
    "worker.before_append": 60,
    "worker.after_append": 60,
    "worker.before_finish": 10,
    "worker.after_finish": 10,
    "worker.after_claim": 3,
    "worker.before_release": 3,
    "api.run_folder_written": 1,
    "api.run_created": 1,
}
"""A crash point is met at a random passing up to this one; elsewhere at the first or second."""


@dataclass(frozen=True)
class Kill:
    """One SIGKILL: at a crash point, else at any instant. `due` is a share of the run's conversations."""

    role: Role
    due: float
    crash_at: str | None = None
    delay_s: float = 0.0
    """From when it is due until it comes; for Redis, from then until it comes back."""
    lost_s: float = 0.0
    """So much of what Redis wrote last is gone when it comes back."""


def plan_kills(chance: random.Random, count: int) -> dict[Role, list[Kill]]:
    """So many kills by role, in their order: every crash point once, the rest at random instants.

    The API's own points are passed when a run is submitted, before everything else.

    Raises:
        ValueError: there are more crash points than kills.
    """
    if count < len(CRASH_POINTS):
        raise ValueError(f"{count} kills do not reach the {len(CRASH_POINTS)} crash points")
    places: dict[Role, list[str | None]] = {role: [] for role in Role}
    for name in CRASH_POINTS:
        places[_role_of(name)].append(f"{name}:{chance.randint(1, _MOST_PASSES.get(name, 2))}")
    for role in chance.choices(list(_SHARES), list(_SHARES.values()), k=count - len(CRASH_POINTS)):
        places[role].append(None)
    return {role: _spread(chance, role, crash_ats) for role, crash_ats in places.items()}


def at_submission(kill: Kill) -> bool:
    return kill.role is Role.API and kill.crash_at is not None


def _role_of(crash_point: str) -> Role:
    process = crash_point.partition(".")[0]
    return Role.WRITER if process == "feeder" else Role(process)


def _spread(chance: random.Random, role: Role, crash_ats: list[str | None]) -> list[Kill]:
    """Evenly over the run, in any order; those of the submission and of feeding first, while there is some."""
    submission = [crash_at for crash_at in crash_ats if role is Role.API and crash_at]
    others = [crash_at for crash_at in crash_ats if crash_at not in submission]
    chance.shuffle(others)
    others.sort(key=lambda crash_at: not (crash_at or "").startswith("feeder."))
    step = LAST_KILL_AT / max(1, len(others))
    return [Kill(role, 0.0, crash_at) for crash_at in submission] + [
        Kill(
            role,
            step * (number + chance.uniform(0.2, 1.0)),
            crash_at,
            delay_s=chance.uniform(0.0, 0.5),
            lost_s=number % 2 * chance.uniform(0.1, MOST_LOST_S) if role is Role.REDIS else 0.0,
        )
        for number, crash_at in enumerate(others)
    ]
