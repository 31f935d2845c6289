from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.counters import CacheShape
from benchmarks.shared_engine import Outcome, Work, pair_of, results
from benchmarks.sharing import Dialogue, Size, num_tokens, share_identical
from platolm.conversation import ASSISTANT, USER
from platolm.errors import InputError
from platolm.tokenizer import load_tokenizer
from tests.unit.stack.adapter_folders import write_adapter

SAID: list[Dialogue] = [[[5, 6], [7]], [[5], []], [[8], [9, 9, 9]]]


def outcome(together: list[Dialogue], seconds: float, memory_mib: float) -> Outcome:
    return Outcome([SAID[0]], together, seconds, memory_mib, CacheShape(128, 1024))


def test_one_other_id_makes_another_dialogue() -> None:
    assert share_identical(SAID, SAID) == 1
    assert share_identical(SAID, [SAID[0], [[5], [1]], SAID[2]]) == pytest.approx(2 / 3)
    assert share_identical([[[5, 6], [7]]], [[[5], [6, 7]]]) == 0, "where an utterance ends counts too"


def test_tokens_of_all_utterances_are_counted() -> None:
    assert num_tokens(SAID) == 8


def test_figures_of_one_engine_beside_two(byte_tokenizer_folder: Path) -> None:
    work = Work(load_tokenizer(str(byte_tokenizer_folder)), ["a", "b", "c"], Size(2, 9), alone=1, in_flight=2)
    two = outcome(SAID, seconds=2.0, memory_mib=400.0)
    one = outcome([*SAID[:2], [[8], [9, 9, 9, 9]]], seconds=3.0, memory_mib=100.0)
    same, shared, memory, rate = results(one, two, work, "float32")
    assert (same.figure, same.floor, same.is_reached) == (1.0, 1.0, True)
    assert shared.figure == pytest.approx(2 / 3)
    assert shared.floor is None
    assert (memory.figure, memory.higher_is_better) == (0.25, False)
    assert rate.figure == pytest.approx((9 / 3) / (8 / 2))
    assert rate.details["in flight"] == 2


def test_the_floor_is_for_float32_alone(byte_tokenizer_folder: Path) -> None:
    work = Work(load_tokenizer(str(byte_tokenizer_folder)), ["a"], Size(2, 9), alone=1, in_flight=1)
    assert results(outcome(SAID, 1, 1), outcome(SAID, 1, 1), work, "bfloat16")[0].floor is None


def test_a_pair_is_what_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    named = [str(write_adapter(tmp_path / name)) for name in ("s", "r")]
    pair = pair_of("base", *named)
    assert (pair.base, pair.adapters[USER].folder, pair.adapters[ASSISTANT].folder) == (
        "base",
        tmp_path / "s",
        tmp_path / "r",
    )
    monkeypatch.setattr("platolm.stack.demo.REPOSITORY", tmp_path)
    with pytest.raises(InputError, match="no demo pair"):
        pair_of("base", None, None)
