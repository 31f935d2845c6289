"""The bounds of a run's realism in its spec."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from platolm.realism import FIGURES, Realism
from platolm.realism_limits import Bounds, OutOfBounds, RealismLimits, ShareBounds
from tests.unit.test_realism import talk

SHARES = {"repeats", "role_slips", "distinct_openings"}


def test_each_figure_and_no_other_can_have_bounds() -> None:
    assert tuple(RealismLimits.model_fields) == (*FIGURES, "after", "then")
    measured = Realism()
    measured.add(talk("tell me a story", "no"))
    assert tuple(measured.figures()) == FIGURES


def test_nothing_is_bounded_unless_asked_for() -> None:
    assert RealismLimits().bounds == {}
    assert (RealismLimits().after, RealismLimits().then) == (200, OutOfBounds.WARN)
    limits = RealismLimits(mtld=Bounds(at_least=10), repeats=ShareBounds(at_most=0.02))
    assert limits.bounds == {"mtld": Bounds(at_least=10), "repeats": ShareBounds(at_most=0.02)}


@pytest.mark.parametrize("figure", FIGURES)
def test_a_share_is_at_most_one_and_what_is_counted_may_be_more(figure: str) -> None:
    for value in (0, 0.5, 1):
        RealismLimits.model_validate({figure: {"at_least": value, "at_most": value}})
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        RealismLimits.model_validate({figure: {"at_most": -0.1}})
    if figure in SHARES:
        with pytest.raises(ValidationError, match="less than or equal to 1"):
            RealismLimits.model_validate({figure: {"at_least": 1.1}})
    else:
        RealismLimits.model_validate({figure: {"at_least": 1.1}})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_bound_is_a_number_that_can_be_reached(value: float) -> None:
    with pytest.raises(ValidationError):
        Bounds(at_most=value)


def test_bounds_are_the_right_way_round() -> None:
    with pytest.raises(ValidationError, match=r"at_least 0\.5 is above at_most 0\.25"):
        ShareBounds(at_least=0.5, at_most=0.25)
