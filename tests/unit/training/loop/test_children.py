"""A stage's process: its exit code's meaning, and its time to save when it is stopped."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from platolm.errors import InputError, TrainingError
from training.loop.children import run_stage, stage_argv, train_argv
from training.loop.folder import Stage

SAVES = """
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[1])
def save(*_):
    (folder / "saved").touch()
    sys.exit(143)
signal.signal(signal.SIGTERM, save)
(folder / "begun").touch()
time.sleep(600)
"""


def python(code: str, *arguments: str) -> list[str]:
    return [sys.executable, "-c", code, *arguments]


async def test_the_exit_code_tells_failure_from_misuse() -> None:
    await run_stage(Stage.CLEAN, python("pass"))
    with pytest.raises(InputError, match="01-clean ended with code 2"):
        await run_stage(Stage.CLEAN, python("raise SystemExit(2)"))
    with pytest.raises(TrainingError, match="04-platolm ended with code 143"):
        await run_stage(Stage.PLATOLM, python("raise SystemExit(143)"))


async def test_cancelled_it_saves_first(tmp_path: Path) -> None:
    task = asyncio.create_task(run_stage(Stage.SOCRATIC, python(SAVES, str(tmp_path))))
    while not (tmp_path / "begun").exists():  # noqa: ASYNC110  another process writes it
        await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (tmp_path / "saved").exists()


async def test_cancelled_twice_it_ends_at_once(tmp_path: Path) -> None:
    deaf = SAVES.replace('(folder / "saved").touch()\n    sys.exit(143)', '(folder / "heard").touch()')
    task = asyncio.create_task(run_stage(Stage.SOCRATIC, python(deaf + "time.sleep(600)\n", str(tmp_path))))
    for name in ("begun", "heard"):
        while not (tmp_path / name).exists():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


def test_the_commands(tmp_path: Path) -> None:
    assert stage_argv("clean", tmp_path)[1:] == ["-m", "training.loop.clean", str(tmp_path)]
    trains = train_argv(tmp_path / "recipe.json", tmp_path / "out")
    assert trains[1:4] == ["-m", "platolm", "train"]
    assert trains[4:] == [str(tmp_path / "recipe.json"), "--out", str(tmp_path / "out")]
