"""The page and its pictures are what the results say."""

from __future__ import annotations

import pytest

from platolm.sizing.curves import DEMO_CURVE, read_curve
from simulation.page import DOCS, PICTURES, page, pictures
from simulation.placement import Policy
from simulation.scenarios import SCENARIOS
from simulation.study import MANY_POLICIES, MANY_SCENARIO, Study, read_study

STALE = "stale: write it again with `python -m simulation.page`"


@pytest.fixture(scope="module")
def study() -> Study:
    return read_study()


def test_the_study_is_whole_and_of_the_demos_curve(study: Study) -> None:
    assert study.curve == read_curve(DEMO_CURVE), "the curve has changed: run `python -m simulation.study` again"
    for scenario in SCENARIOS:
        for policy in Policy:
            assert study.cell(scenario.name, policy).replicas == 100
    for policy in MANY_POLICIES:
        assert study.cell(MANY_SCENARIO, policy, 1_000_000).conversations_per_h > 0


def test_the_page_is_up_to_date(study: Study) -> None:
    assert (DOCS / "simulation.md").read_text() == page(study), STALE


def test_the_pictures_are_up_to_date(study: Study) -> None:
    for name, text in pictures(study).items():
        assert (DOCS / PICTURES / name).read_text() == text, STALE
        assert len(text) < 100_000


def test_no_claim_of_the_reading_is_upside_down(study: Study) -> None:
    """Sentences take their numbers from the results; what they say with them must still be so."""
    ours = {name: study.cell(name, Policy.LEAST_RESERVED) for name in (scenario.name for scenario in SCENARIOS)}
    others = {policy: study.cell("mixed", policy) for policy in Policy}
    assert others[Policy.REQUEST_ROUND_ROBIN].hit_share < 0.5 * ours["mixed"].hit_share
    assert others[Policy.REQUEST_ROUND_ROBIN].conversations_per_h < ours["mixed"].conversations_per_h
    assert others[Policy.CONSISTENT_HASH].conversations_per_h < ours["mixed"].conversations_per_h
    assert others[Policy.CONSISTENT_HASH].tail_s[0] > 1.5 * ours["mixed"].tail_s[0]
    assert ours["equal"].conversations_per_h < study.cell("equal", Policy.POWER_OF_TWO).conversations_per_h
    assert study.cell("crowded", Policy.ROUND_ROBIN).hits_of_attainable < ours["crowded"].hits_of_attainable
    assert ours["killed"].conversations_per_h < ours["mixed"].conversations_per_h
