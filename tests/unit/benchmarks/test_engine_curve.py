"""What the curve's benchmark makes of its readings."""

from __future__ import annotations

import pytest

from benchmarks.engine_curve import Load, Reading, fitted


def reading(batch: int, prompt: int, output: int, seconds: float = 10.0) -> Reading:
    """Of an engine of 4 ms and 0.1 ms a request a step, 2 ms a request, 50 µs a prompt token, 30 ns a token held, and
    10 ms on a request's way: what it does in `seconds`.
    """
    step = 0.004 + 1e-4 * batch
    cycle = 0.010 + output * step + batch * (0.002 + prompt * 5e-5) + batch * output * 3e-8 * (prompt + 0.54 * output)
    requests = seconds * batch / cycle
    generated = requests * output
    return Reading(Load(batch, prompt, output), seconds, generated, requests * prompt, generated / batch)


def readings() -> list[Reading]:
    return [reading(b, p, o) for b in (1, 8, 32, 64) for p in (16, 192) for o in (8, 48)]


def test_an_engine_that_follows_the_model_is_found() -> None:
    fit = fitted(readings())
    assert fit.error < 1e-6
    assert [batch for batch, _ in fit.steps] == [1, 8, 32, 64]
    assert [seconds for _, seconds in fit.steps] == pytest.approx([0.0041, 0.0048, 0.0072, 0.0104], rel=1e-3)
    assert fit.prefill_token_s == pytest.approx(5e-5, rel=1e-3)
    assert fit.request_s == pytest.approx(0.002, rel=1e-2)
    assert fit.latency_s == pytest.approx(0.010, rel=1e-2)
    assert fit.context_token_s == pytest.approx(3e-8, rel=1e-2)


def test_nothing_becomes_negative_and_the_error_is_told() -> None:
    noisy = [reading(1, 16, 8, seconds=14.0 if number % 2 else 10.0) for number in range(4)]
    skewed = [Reading(one.load, 10.0, one.generated, one.prefilled, one.steps) for one in noisy]
    fit = fitted([*readings(), *skewed])
    assert fit.error > 0.05
    assert min(fit.request_s, fit.prefill_token_s, fit.context_token_s, fit.latency_s) >= 0
    assert all(later >= earlier for (_, earlier), (_, later) in zip(fit.steps, fit.steps[1:], strict=False))
