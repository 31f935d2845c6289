from __future__ import annotations

from benchmarks.loaded_stack import Window
from benchmarks.overhead import per_core, spec
from platolm.spec import RunSpec


def test_per_core_counts_worker_and_redis_and_nothing_else() -> None:
    cpu_s = {"worker": 6.0, "redis": 2.0, "api": 50.0, "writer": 50.0, "engine": 50.0}
    window = Window(seconds=10.0, utterances=16_000, generated_tokens=0, prompt_tokens=0, cpu_s=cpu_s)

    assert per_core(window) == 2000


def test_specs_are_valid() -> None:
    assert RunSpec.model_validate(spec(5, 12)).endings.max_turns == 12
    assert RunSpec.model_validate(spec(5, None)).endings.max_turns is None
