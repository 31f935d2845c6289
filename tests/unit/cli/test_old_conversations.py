"""A run over old conversations, from the command line to its request."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from platolm.cli.run_request import compose
from platolm.errors import InputError, SeedError, SpecError
from platolm.seed_modes import SeedMode
from platolm.spec_text import spec_yaml


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """Three conversations, of two, four and six turns."""
    path = tmp_path / "old.jsonl"
    turns = [{"from": ("human", "gpt")[i % 2], "value": f"turn {i}"} for i in range(6)]
    path.write_text("".join(json.dumps({"conversations": turns[:length]}) + "\n" for length in (2, 4, 6)))
    return path


def num_given(path: Path, **values: object) -> list[int]:
    """Turns that each seed of the request gives."""
    request = compose(None, values, seeds=path).request
    return [len(seed.turns or []) for seed in request.taken_seeds()]


def test_a_turn_to_go_on_from_means_continue_mode(old: Path) -> None:
    composed = compose(None, {"from_turn": 4, "repeats": 2}, seeds=old)
    assert (composed.request.spec.seed_mode, composed.request.spec.conversations) == (SeedMode.CONTINUE, 6)
    assert num_given(old, from_turn=4) == [2, 4, 4]


def test_each_mode_takes_what_it_says(old: Path) -> None:
    assert num_given(old, seed_mode="continue") == [2, 4, 6]
    assert num_given(old, seed_mode="reanswer") == [1, 2, 3]
    assert num_given(old, seed_mode="continue", from_turn=-1) == [1, 3, 5]


def test_a_conversation_of_which_nothing_is_left(old: Path) -> None:
    with pytest.raises(SeedError, match="1 of 3 lines are unusable; --skip-bad leaves them out"):
        compose(None, {"from_turn": -2}, seeds=old)
    composed = compose(None, {"from_turn": -2}, seeds=old, skip_bad=True)
    assert [bad.number for bad in composed.bad_lines] == [1]
    assert composed.request.spec.conversations == 2


def test_a_printed_spec_says_it_too(old: Path, tmp_path: Path) -> None:
    composed = compose(None, {"from_turn": -1}, seeds=old)
    (tmp_path / "run.yaml").write_text(spec_yaml(composed.request.spec, old))
    assert compose(tmp_path / "run.yaml", {}).request == composed.request


def test_what_does_not_go_together(old: Path) -> None:
    with pytest.raises(SpecError, match="from_turn is for seed_mode continue, not reanswer"):
        compose(None, {"from_turn": 2, "seed_mode": "reanswer"}, seeds=old)
    with pytest.raises(SpecError, match="from_turn is for seed_mode continue, not free"):
        compose(None, {"from_turn": 2})
    with pytest.raises(InputError, match="seed mode continue needs a --seeds file"):
        compose(None, {"seed_mode": "continue"})
