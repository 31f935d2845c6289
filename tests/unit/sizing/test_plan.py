"""A plan in numbers, and the constants that it shares with the benchmarks."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks import overhead
from platolm.conversation import ASSISTANT, USER
from platolm.errors import InputError
from platolm.sizing.load import SideLoad
from platolm.sizing.plan import WORKER_UTTERANCES_PER_S, Wish, plan
from tests.unit.sizing.curves import curve

LOADS = {role: SideLoad(2, 40, 200, 100, 250) for role in (USER, ASSISTANT)}
ONE_EACH = {USER: 1, ASSISTANT: 1}


def wish(**fields: Any) -> Wish:
    return Wish({USER: curve(), ASSISTANT: curve()}, LOADS, **fields)


def test_replicas_give_a_rate_hours_and_cost() -> None:
    found = plan(wish(replicas=ONE_EACH, conversations=144_000, price_per_gpu_h=3.0))
    assert found.conversations_per_h == pytest.approx(72_000)
    assert found.hours == pytest.approx(2)
    assert found.gpu_hours == pytest.approx(4)
    assert found.cost == pytest.approx(12)
    assert found.cost_per_1000 == pytest.approx(12 / 144)
    assert found.conversations_per_gpu_h == pytest.approx(36_000)
    assert found.sides["simulator"].tokens_per_s == pytest.approx(800)


def test_a_rate_gives_replicas_with_headroom() -> None:
    bare = plan(wish(conversations_per_h=720_000))
    assert {side.replicas for side in bare.sides.values()} == {10}
    roomy = plan(wish(conversations_per_h=720_000, headroom=0.2))
    assert roomy.sides["simulator"].replicas > bare.sides["simulator"].replicas
    assert roomy.conversations_per_h >= 720_000 * (1 - 1e-6)


def test_without_a_gpu_there_is_no_price() -> None:
    found = plan(Wish({role: curve(gpus=0) for role in LOADS}, LOADS, replicas=ONE_EACH, price_per_gpu_h=3.0))
    assert (found.gpus, found.cost_per_1000, found.conversations_per_gpu_h) == (0, None, None)


def test_workers_are_counted_by_their_utterances() -> None:
    found = plan(wish(replicas={USER: 100, ASSISTANT: 100}))
    assert found.utterances_per_s == pytest.approx(8000)
    assert found.workers == 6


def test_what_is_not_measured_is_told() -> None:
    found = plan(Wish({USER: curve(), ASSISTANT: curve().scaled(2.0)}, LOADS, replicas=ONE_EACH))
    assert [warning for warning in found.warnings if "not measured" in warning] == found.warnings
    assert len(found.warnings) == 1
    assert found.warnings[0].startswith("respondent")


def test_a_cache_smaller_than_a_conversation_is_told() -> None:
    small = curve(kv_tokens=200)
    found = plan(Wish({USER: small, ASSISTANT: small}, LOADS, replicas=ONE_EACH))
    assert len(found.warnings) == 2


@pytest.mark.parametrize("fields", [{}, {"replicas": ONE_EACH, "conversations_per_h": 1.0}])
def test_either_a_rate_or_replicas(fields: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="either"):
        plan(wish(**fields))


def test_a_worker_does_what_its_benchmark_wants() -> None:
    assert overhead.RATE_FLOOR == WORKER_UTTERANCES_PER_S
