"""What an engine does in a second, as a curve over its batch: a small JSON file, measured or marked as not measured.

A curve says how long one step of continuous batching takes, in which each of n running requests gets one token, and
what a new request adds. `benchmarks.engine_curve` measures one and writes the file; `curves/` holds those that come
with the project.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cached_property
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from platolm.errors import InputError

DEMO_CURVE = "demo-cpu-core"
"""The demo models, an engine on one core."""

_FOLDER = files(__package__).joinpath("curves")


class EngineCurve(BaseModel):
    """One engine, a replica of either side. Times are in seconds.

    A step with n requests that hold h tokens together takes `step_s(n, h)`. A request adds `request_s`, and
    `prefill_token_s` for each token of its prompt that is not in the prefix cache; meanwhile the others wait. For
    `latency_s` it is on its way, to the engine or back.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    is_measured: bool = Field(description="false: reckoned or assumed, never taken from a running engine")
    source: str = Field(description="the command that measured it, or how it was reckoned")
    model: str
    engine: str
    hardware: str
    gpus: float = Field(ge=0, description="of one replica; 0 without a GPU")
    block_tokens: int = Field(ge=1, description="tokens of a block of the KV cache")
    kv_tokens: int = Field(ge=1, description="tokens that the KV cache holds")
    max_batch: int = Field(ge=1, description="requests that run at a time at most; --max-num-seqs of vLLM")
    steps: tuple[tuple[int, float], ...] = Field(
        min_length=1, description="batch and seconds of a step without what the context adds, by rising batch"
    )
    context_token_s: float = Field(0.0, ge=0, description="what each token that the batch holds adds to a step")
    prefill_token_s: float = Field(ge=0, description="what each token of a prompt that is not cached takes")
    request_s: float = Field(ge=0, description="what each request takes besides, while the others wait")
    latency_s: float = Field(0.0, ge=0, description="what a request is on its way besides, while the others go on")
    fit_error: float | None = Field(None, ge=0, description="largest relative error against its own measurements")

    @field_validator("steps")
    @classmethod
    def _rises(cls, steps: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
        if steps[0][0] < 1 or any(later <= earlier for (earlier, _), (later, _) in pairwise(steps)):
            raise ValueError("batches must rise from 1 on")
        if any(seconds <= 0 for _, seconds in steps):
            raise ValueError("a step takes time")
        return steps

    @property
    def largest_measured(self) -> int:
        """Beyond this batch the last two points are drawn out in a straight line."""
        return self.steps[-1][0]

    def step_s(self, batch: float, held_tokens: float = 0.0) -> float:
        """Seconds of one step: linear between the points, level before the first."""
        return self._bare_step_s(batch) + held_tokens * self.context_token_s

    def scaled(self, slowness: float, kv_share: float = 1.0) -> EngineCurve:
        """The same engine on hardware that is so many times slower, with this share of the KV cache."""
        return self.model_copy(
            update={
                "name": f"{self.name}, {slowness:g} times slower",
                "is_measured": False,
                "source": f"{self.name} with every time {slowness:g} times as long",
                "kv_tokens": int(self.kv_tokens * kv_share),
                "steps": tuple((batch, seconds * slowness) for batch, seconds in self.steps),
                "context_token_s": self.context_token_s * slowness,
                "prefill_token_s": self.prefill_token_s * slowness,
                "request_s": self.request_s * slowness,
                "latency_s": self.latency_s * slowness,
            }
        )

    @cached_property
    def _batches(self) -> list[int]:
        return [batch for batch, _ in self.steps]

    def _bare_step_s(self, batch: float) -> float:
        if batch <= self.steps[0][0] or len(self.steps) == 1:
            return self.steps[0][1]
        above = min(bisect_left(self._batches, batch), len(self.steps) - 1)
        (low, low_s), (high, high_s) = self.steps[above - 1], self.steps[above]
        return max(low_s, low_s + (high_s - low_s) * (batch - low) / (high - low))


def curve_names() -> list[str]:
    """The curves that come with the project."""
    return sorted(entry.name.removesuffix(".json") for entry in _FOLDER.iterdir() if entry.name.endswith(".json"))


def read_curve(named: str) -> EngineCurve:
    """A curve that comes with the project, by name, or any other by its file.

    Raises:
        InputError: there is none, or it is no curve.
    """
    if named in curve_names():
        return parse_curve(_FOLDER.joinpath(f"{named}.json").read_text(encoding="utf-8"), named)
    try:
        text = Path(named).read_text(encoding="utf-8")
    except OSError as error:
        known = ", ".join(curve_names())
        raise InputError(f"no curve {named!r}: name a file ({error.strerror}), or one of {known}") from error
    return parse_curve(text, named)


def parse_curve(text: str, source: str) -> EngineCurve:
    """A curve from JSON; `source` names it in errors.

    Raises:
        InputError: it is no curve.
    """
    try:
        return EngineCurve.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InputError(f"{source} is no engine curve: {where}: {first['msg']}") from error
