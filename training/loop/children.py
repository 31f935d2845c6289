"""Stages that run as processes of their own: what they are called with, and what their end means."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from platolm.errors import InputError, TrainingError
from platolm.stack.child import ChildProcess, Command
from training.loop.folder import Stage

_SAVING_S = 660.0
"""A training that is asked to stop ends its step and saves."""

TrainArgv = Callable[[Path, Path], list[str]]
"""The command that trains: a recipe's file, the run's folder."""


def train_argv(recipe: Path, out: Path) -> list[str]:
    """`platolm train`, on every GPU that is visible."""
    return [sys.executable, "-m", "platolm", "train", str(recipe), "--out", str(out)]


def stage_argv(module: str, loop_folder: Path) -> list[str]:
    """One of this package's own stages."""
    return [sys.executable, "-m", f"training.loop.{module}", str(loop_folder)]


async def run_stage(stage: Stage, argv: Sequence[str]) -> None:
    """Run a stage's process to its end; it prints where we do. Cancelled, it is asked to stop, and waited for.

    Raises:
        InputError: it says that it was not called rightly.
        TrainingError: it failed.
    """
    child = await ChildProcess.start(Command(argv, grace_s=_SAVING_S))
    try:
        code = await child.wait()
    except asyncio.CancelledError:
        await _end(child)
        raise
    if code:
        kind = InputError if code == 2 else TrainingError
        raise kind(f"{stage} ended with code {code}, see above; once that is mended the same command goes on there")


async def _end(child: ChildProcess) -> None:
    try:
        await child.stop()
    except asyncio.CancelledError:  # asked a second time: at once
        await child.kill()
        raise
