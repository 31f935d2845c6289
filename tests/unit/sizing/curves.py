"""Curves with round numbers."""

from __future__ import annotations

from typing import Any

from platolm.sizing.curves import EngineCurve


def curve(**fields: Any) -> EngineCurve:
    """Ten milliseconds a step up to a batch of ten, then one more for each request."""
    values: dict[str, Any] = {
        "name": "round",
        "is_measured": True,
        "source": "made up",
        "model": "none",
        "engine": "none",
        "hardware": "none",
        "gpus": 1,
        "block_tokens": 16,
        "kv_tokens": 100_000,
        "max_batch": 64,
        "steps": ((1, 0.01), (10, 0.01), (60, 0.06)),
        "prefill_token_s": 1e-4,
        "request_s": 0.0,
    }
    return EngineCurve.model_validate(values | fields)
