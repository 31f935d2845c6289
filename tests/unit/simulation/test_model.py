"""The model of a run: against a run that is followed step by step, and what must hold in any run."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from platolm.conversation import ASSISTANT, USER
from platolm.sizing.curves import EngineCurve
from platolm.sizing.formula import Side, throughput
from simulation.model import Change, Outcome, Setup, simulate
from simulation.placement import Policy
from simulation.scenarios import mean_loads
from simulation.workload import Lengths, Workload, drawn
from tests.unit.simulation.step_exact import step_by_step
from tests.unit.sizing.curves import curve

MIXED = Lengths(spread=0.6, ends_one_in=5, max_utterances=12)
ENGINE = curve(
    steps=((1, 0.004), (16, 0.008), (64, 0.02)), request_s=0.002, context_token_s=2e-7, kv_tokens=20_000, max_batch=32
)


def outcome(
    workload: Workload, policy: Policy = Policy.LEAST_RESERVED, replicas: int = 2, in_flight: int = 40, **fields: Any
) -> Outcome:
    engines: list[EngineCurve] = fields.pop("engines", None) or [fields.pop("engine", ENGINE)] * replicas
    return simulate(Setup(engines, engines, policy, in_flight, **fields), workload)


@pytest.mark.parametrize(
    ("lengths", "kv_tokens", "max_batch"),
    [(Lengths(), 20_000, 32), (MIXED, 20_000, 32), (MIXED, 6_000, 32), (MIXED, 20_000, 6)],
    ids=["equal", "mixed", "little cache", "few slots"],
)
def test_it_agrees_with_a_run_step_by_step(lengths: Lengths, kv_tokens: int, max_batch: int) -> None:
    workload = drawn(lengths, 150)
    engine = ENGINE.model_copy(update={"kv_tokens": kv_tokens, "max_batch": max_batch})
    exact_s, exact_hits = step_by_step(engine, workload, 2, 40, 0.03)
    found = outcome(workload, Policy.ROUND_ROBIN, engine=engine, orchestrator_s=0.03)
    assert found.seconds == pytest.approx(exact_s, rel=0.04)
    assert found.hit_tokens == pytest.approx(exact_hits, rel=0.06)


def test_it_agrees_with_the_formula_where_that_holds() -> None:
    """Engines that are never out of work, beginning and end aside: many conversations, few at a time."""
    workload = drawn(MIXED, 600)
    loads = mean_loads(workload, ENGINE.block_tokens)
    sides = {role: Side(ENGINE, loads[role], 2) for role in (USER, ASSISTANT)}
    formula = throughput(sides, max_in_flight=40).conversations_per_s
    found = outcome(workload, bin_s=0.5)
    middle = found.tokens_by_time[len(found.tokens_by_time) // 5 : -len(found.tokens_by_time) // 5]
    rate = middle.sum() / (0.5 * len(middle)) / (found.generated_tokens / found.conversations)
    assert rate == pytest.approx(formula, rel=0.03)


@pytest.mark.parametrize("policy", Policy)
def test_every_token_is_generated_once_and_the_engines_do_not_lie_idle(policy: Policy) -> None:
    workload = drawn(MIXED, 120)
    found = outcome(workload, policy)
    assert found.generated_tokens == int(workload.tokens.sum())
    assert found.repeated_tokens == 0
    assert int(found.tokens_by_time.sum()) == found.generated_tokens
    assert 0.5 < found.busy_share <= 1
    assert found.tail_s[0] >= found.tail_s[1] >= 0


@pytest.mark.parametrize(
    "policy", [Policy.LEAST_RESERVED, Policy.POWER_OF_TWO, Policy.ROUND_ROBIN, Policy.CONSISTENT_HASH]
)
def test_a_conversation_that_stays_finds_all_that_it_left(policy: Policy) -> None:
    roomy = ENGINE.model_copy(update={"kv_tokens": 1_000_000})
    found = outcome(drawn(MIXED, 100), policy, engine=roomy)
    assert found.hit_tokens == found.attainable_tokens > 0
    assert found.moves == 0


def test_a_request_that_goes_anywhere_finds_little() -> None:
    found = outcome(drawn(MIXED, 100), Policy.REQUEST_ROUND_ROBIN, replicas=5)
    assert found.hits_of_attainable < 0.5
    assert found.moves > 0


def test_a_full_cache_gives_up_what_was_left_first() -> None:
    found = outcome(drawn(MIXED, 100), Policy.ROUND_ROBIN, engine=ENGINE.model_copy(update={"kv_tokens": 4000}))
    assert found.hits_of_attainable < 0.9


def test_reservations_keep_the_cache_whole_where_others_thrash() -> None:
    """Far more conversations are allowed in flight than fit: admission holds them back, the others do not."""
    small = ENGINE.model_copy(update={"kv_tokens": 6000})
    workload = drawn(MIXED, 200)
    ours, theirs = (outcome(workload, policy, engine=small, in_flight=120) for policy in (Policy(0), Policy(2)))
    assert ours.hits_of_attainable > theirs.hits_of_attainable + 0.2


@pytest.mark.parametrize("policy", Policy)
def test_a_killed_engine_loses_utterances_and_no_conversation(policy: Policy) -> None:
    workload = drawn(MIXED, 150)
    whole = outcome(workload, policy, replicas=3)
    changes = [
        Change(share * whole.seconds, engine, joins)
        for share, joins in ((0.3, False), (0.6, True))
        for engine in (1, 4)
    ]
    found = outcome(workload, policy, replicas=3, changes=changes)
    assert found.generated_tokens == int(workload.tokens.sum())
    assert found.repeated_tokens > 0
    assert found.moves > 0
    assert found.seconds > whole.seconds


def test_a_side_without_engines_waits_until_one_joins() -> None:
    workload = drawn(Lengths(), 10)
    found = outcome(workload, replicas=1, changes=[Change(0.5, 0), Change(60.0, 0, joins=True)])
    assert found.seconds > 60
    assert found.generated_tokens == int(workload.tokens.sum())


def test_a_conversation_larger_than_an_engines_cache_is_made_nevertheless() -> None:
    tiny = ENGINE.model_copy(update={"kv_tokens": 128})
    found = outcome(drawn(Lengths(), 5), engine=tiny)
    assert found.generated_tokens == 5 * 5 * (24 + 64)


def test_the_same_again_is_the_same() -> None:
    first, again = (outcome(drawn(MIXED, 60), Policy.POWER_OF_TWO) for _ in range(2))
    assert (first.seconds, first.hit_tokens) == (again.seconds, again.hit_tokens)


def test_both_sides_have_as_many_engines() -> None:
    with pytest.raises(ValueError, match="as many"):
        Setup([ENGINE], [ENGINE, ENGINE], Policy.ROUND_ROBIN, 10)


def test_waits_are_told_where_slots_are_few() -> None:
    narrow = ENGINE.model_copy(update={"max_batch": 2})
    found = outcome(drawn(MIXED, 80), Policy.ROUND_ROBIN, engine=narrow)
    assert found.mean_wait_s > 0.01
    assert found.waits[0] <= found.waits[1] <= found.waits[2]
    assert np.all(found.busy_by_time <= 4 + 1e-9)
