"""2,000 conversations under SIGKILLs of everything but the engines, at every crash point and at any instant."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, USER
from services.orchestrator.crash_points import CRASH_POINTS
from tests.integration.orchestrator.chaos.checks import check, check_dataset, check_requests
from tests.integration.orchestrator.chaos.plan import Role, plan_kills
from tests.integration.orchestrator.chaos.run import Options, expected_of, run_chaos

CONVERSATIONS, KILLS = 2000, 44


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_nothing_is_lost_and_nothing_comes_twice(tmp_path: Path, byte_tokenizer_folder: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"chaos seed {seed}")
    aftermath = run_chaos(tmp_path, byte_tokenizer_folder, Options(CONVERSATIONS, KILLS, seed))
    findings = check(aftermath, expected_of(aftermath, byte_tokenizer_folder))
    print(f"{findings}; {aftermath.seconds:.0f} s")
    points = [killed.kill.crash_at.partition(":")[0] for killed in aftermath.killed if killed.kill.crash_at]
    assert Counter(points) == Counter(CRASH_POINTS.keys())
    assert len(aftermath.killed) == KILLS
    assert set(findings.kills) == set(Role)


@pytest.mark.slow
def test_an_undisturbed_run_says_what_is_worked_out_here(tmp_path: Path, byte_tokenizer_folder: Path) -> None:
    """So that the chaos test may compare with what is worked out without a stack."""
    aftermath = run_chaos(tmp_path, byte_tokenizer_folder, Options(60, kills=0, seed=5))
    expected = expected_of(aftermath, byte_tokenizer_folder)
    check_dataset(aftermath, expected)
    findings = check_requests(aftermath)
    assert (findings.repeats, findings.made_again, findings.in_flight_at_kills) == (0, 0, 0)
    assert findings.heard == findings.utterances == findings.requests
    lengths = {len(record["turns"]) for record in aftermath.records}
    assert len(lengths) >= 4, "of mixed length"
    assert {turn["role"] for record in aftermath.records for turn in record["turns"]} == {USER, ASSISTANT}


@pytest.mark.parametrize("count", [len(CRASH_POINTS), 44, 500])
def test_a_plan_has_every_crash_point_and_as_many_kills_as_wanted(count: int) -> None:
    plan = plan_kills(random.Random(1), count)
    kills = [kill for kills in plan.values() for kill in kills]
    assert len(kills) == count
    points = [kill.crash_at.partition(":")[0] for kill in kills if kill.crash_at]
    assert Counter(points) == Counter(CRASH_POINTS.keys())
    for role_kills in plan.values():
        assert [kill.due for kill in role_kills] == sorted(kill.due for kill in role_kills)
        assert all(0 <= kill.due < 1 for kill in role_kills)
    with pytest.raises(ValueError, match="crash points"):
        plan_kills(random.Random(1), len(CRASH_POINTS) - 1)
