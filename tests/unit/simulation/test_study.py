"""A study that was stopped goes on, and each cell is what its scenario says."""

from __future__ import annotations

from pathlib import Path

import pytest

from simulation import study as module
from simulation.placement import Policy
from simulation.scenarios import SCENARIOS
from simulation.study import measured_cell, read_study
from simulation.workload import drawn
from tests.unit.sizing.curves import curve


def test_what_is_there_is_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, engine = tmp_path / "results.json", tmp_path / "round.json"
    engine.write_text(curve(kv_tokens=20_000).model_dump_json())
    ran: list[tuple[str, str, int]] = []
    whole = measured_cell

    def counted(*args: object) -> object:
        if len(ran) == 3:
            raise KeyboardInterrupt
        cell = whole(*args)  # type: ignore[arg-type]
        ran.append((cell.scenario, cell.policy, cell.conversations))
        return cell

    monkeypatch.setattr(module, "measured_cell", counted)
    with pytest.raises(KeyboardInterrupt):
        module.main(2, 20, 40, str(engine), again=False, out=path)
    assert [(cell.scenario, cell.policy, cell.conversations) for cell in read_study(path).cells] == ran
    monkeypatch.setattr(module, "measured_cell", whole)
    module.main(2, 20, 40, str(engine), again=False, out=path)
    cells = read_study(path).cells
    assert [cell.key for cell in cells[:3]] == [(scenario, policy, 2, size) for scenario, policy, size in ran]
    assert len({cell.key for cell in cells}) == len(cells) == len(SCENARIOS) * len(Policy) + 2


def test_slow_engines_are_every_second_one_and_the_formula_counts_them() -> None:
    engine = curve()
    unlike = next(one for one in SCENARIOS if one.half_is_slow)
    engines = unlike.curves(engine, 4)
    assert [one.step_s(1) for one in engines] == [0.01, 0.02, 0.01, 0.02]
    workload = drawn(unlike.lengths, 100)
    mixed = next(one for one in SCENARIOS if one.name == "mixed")
    ratio = unlike.formula(engine, 4, workload) / mixed.formula(engine, 4, workload)
    assert ratio == pytest.approx(0.75, abs=0.03)


def test_a_fifth_of_both_sides_is_killed_and_comes_back() -> None:
    killed = next(one for one in SCENARIOS if one.are_killed)
    setup = killed.setup(curve(), 10, Policy.ROUND_ROBIN, drawn(killed.lengths, 100))
    gone = [change.engine for change in setup.changes if not change.joins]
    assert gone == [change.engine for change in setup.changes if change.joins] == [0, 5, 10, 15]
