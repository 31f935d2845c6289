"""`platolm size`: what it prints, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import RunCommand
from tests.unit.sizing.curves import curve


async def test_help_teaches_by_example_and_has_the_formula(platolm: RunCommand) -> None:
    result = await platolm("size", "--help")
    assert "platolm size --replicas" in result.stdout
    assert "t(n)" in result.stdout


async def test_the_plan_is_one_json_object(platolm: RunCommand, tmp_path: Path) -> None:
    path = tmp_path / "round.json"
    path.write_text(curve(is_measured=False).model_dump_json())
    result = await platolm(
        *("size", "--rounds", "2", "--user-tokens", "20", "--assistant-tokens", "20", "--curve", str(path)),
        *("--replicas", "2:3", "--conversations", "1000", "--price", "2", "--json"),
    )
    assert result.code == 0, result.stderr
    plan = json.loads(result.stdout)
    assert [plan["sides"][side]["replicas"] for side in ("simulator", "respondent")] == [2, 3]
    assert plan["cost"] == pytest.approx(2 * plan["gpu_hours"])
    assert plan["gpus"] == 5
    assert len(plan["warnings"]) == 2


async def test_a_curve_that_is_not_measured_is_told_beside_the_tables(platolm: RunCommand, tmp_path: Path) -> None:
    path = tmp_path / "round.json"
    path.write_text(curve(is_measured=False).model_dump_json())
    result = await platolm("size", "--curve", str(path), "--per-hour", "100000")
    assert "not measured" in result.stderr
    assert "conversations an hour" in result.stdout
    assert "worker processes" in result.stdout


@pytest.mark.parametrize("replicas", ["3", "0:1", "a:b", "1:2:3"])
async def test_replicas_are_two_numbers(platolm: RunCommand, replicas: str) -> None:
    result = await platolm("size", "--replicas", replicas)
    assert (result.code, "2:6" in result.stderr) == (2, True)


async def test_rate_and_replicas_exclude_one_another(platolm: RunCommand) -> None:
    result = await platolm("size", "--replicas", "1:1", "--per-hour", "5")
    assert result.code == 2
    assert "either" in result.stderr
