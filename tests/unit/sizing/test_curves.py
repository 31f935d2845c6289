"""What an engine's curve says between and beyond its points, and what is no curve."""

from __future__ import annotations

from pathlib import Path

import pytest

from platolm.errors import InputError
from platolm.sizing.curves import DEMO_CURVE, curve_names, parse_curve, read_curve
from tests.unit.sizing.curves import curve


@pytest.mark.parametrize(
    ("batch", "seconds"), [(0.5, 0.01), (1, 0.01), (5, 0.01), (10, 0.01), (35, 0.035), (60, 0.06), (110, 0.11)]
)
def test_a_step_is_linear_between_the_points_and_drawn_out_beyond(batch: float, seconds: float) -> None:
    assert curve().step_s(batch) == pytest.approx(seconds)


def test_a_single_point_holds_for_every_batch() -> None:
    assert curve(steps=((4, 0.02),)).step_s(100) == 0.02


def test_a_step_takes_longer_with_what_the_batch_holds() -> None:
    assert curve(context_token_s=1e-6).step_s(10, 5000) == pytest.approx(0.015)


def test_a_slower_engine_is_no_measured_one() -> None:
    slow = curve(request_s=0.001, context_token_s=1e-6).scaled(2.0, kv_share=0.5)
    assert not slow.is_measured
    assert slow.step_s(35, 1000) == pytest.approx(2 * (0.035 + 0.001))
    assert (slow.prefill_token_s, slow.request_s, slow.kv_tokens) == (2e-4, 0.002, 50_000)


@pytest.mark.parametrize("name", curve_names())
def test_the_projects_curves_can_be_read(name: str) -> None:
    found = read_curve(name)
    assert found.name == name
    if found.is_measured:
        assert found.source.startswith("python -m benchmarks.engine_curve")
        assert found.fit_error is not None
    else:
        assert found.fit_error is None, "what was not measured has no error against measurements"


def test_the_demos_curve_is_measured() -> None:
    assert read_curve(DEMO_CURVE).is_measured


def test_a_curve_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    path.write_text(curve(name="mine").model_dump_json())
    assert read_curve(str(path)) == curve(name="mine")


def test_a_name_that_is_nothing_names_what_there_is() -> None:
    with pytest.raises(InputError, match=DEMO_CURVE):
        read_curve("nothing")


@pytest.mark.parametrize("steps", [((2, 0.1), (2, 0.1)), ((0, 0.1),), ((1, 0.0),), ()])
def test_what_is_no_curve_is_refused(steps: tuple[tuple[int, float], ...]) -> None:
    text = curve().model_copy(update={"steps": steps}).model_dump_json()
    with pytest.raises(InputError, match="steps"):
        parse_curve(text, "this.json")
