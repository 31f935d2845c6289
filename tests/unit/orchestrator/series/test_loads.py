"""How full the engines are by what workers say of them."""

from __future__ import annotations

import pytest

from services.orchestrator.queue.reports import ReplicaReport
from services.orchestrator.series.loads import Load, loads
from tests.unit.orchestrator.series.reported import replica, stamped

E1, E2 = "http://e1:8000/v1", "http://e2:8000/v1"


def test_nobody_says_anything() -> None:
    assert loads([]) == loads([stamped(1.0)]) == {}


def test_engines_add_up_by_side() -> None:
    seen = [replica(E1), replica(E2, running=5, waiting=3), replica(E1, side="respondent", running=7, waiting=0)]
    assert loads([stamped(1.0, replicas=seen)]) == {
        "simulator": Load(running=7, waiting=4, kv_used=0.5),
        "respondent": Load(running=7, waiting=0, kv_used=0.5),
    }


@pytest.mark.parametrize("older_first", [True, False])
def test_an_engine_that_two_workers_watch_counts_once_as_read_last(older_first: bool) -> None:
    # The second report came later, and what it tells was read earlier.
    fresh = stamped(100.0, replicas=[replica(running=3, waiting=0, kv_used=0.2, read_s_ago=1.0)])
    stale = stamped(101.0, replicas=[replica(running=9, waiting=9, kv_used=0.9, read_s_ago=8.0)])
    reports = [stale, fresh] if older_first else [fresh, stale]
    assert loads(reports) == {"simulator": Load(running=3, waiting=0, kv_used=0.2)}


def test_an_engine_counts_while_one_worker_can_use_it() -> None:
    lost = stamped(100.0, replicas=[replica(usable=False, running=9, read_s_ago=0.1)])
    assert loads([lost]) == {}
    found = stamped(100.0, replicas=[replica(running=2)])
    assert loads([lost, found])["simulator"].running == 2


def test_an_engine_that_says_nothing_is_not_known() -> None:
    silent = replica(E2, running=None, waiting=None, kv_used=None, read_s_ago=None)
    assert loads([stamped(1.0, replicas=[silent])]) == {}
    assert loads([stamped(1.0, replicas=[silent, replica(E1)])])["simulator"] == Load(2, 1, 0.5)


@pytest.mark.parametrize(
    ("engines", "used"),
    [
        ([replica(E1, kv_used=0.25)], 0.25),
        ([replica(E1, kv_used=None)], None),
        ([replica(E1, kv_used=0.2), replica(E2, kv_used=None)], 0.2),
        # By size where all caches tell theirs, else each as much as any other.
        ([replica(E1, kv_used=0.2, budget_tokens=3000), replica(E2, kv_used=0.6, budget_tokens=1000)], 0.3),
        ([replica(E1, kv_used=0.2, budget_tokens=3000), replica(E2, kv_used=0.6)], 0.4),
    ],
)
def test_the_share_of_all_caches(engines: list[ReplicaReport], used: float | None) -> None:
    assert loads([stamped(1.0, replicas=engines)])["simulator"].kv_used == used
