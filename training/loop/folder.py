"""The folder of a loop: its stages' outputs, and what is known of each.

loop.json            the resolved recipe
01-clean/ …          the stages' outputs, see `Stage`
recipes/             the two trainings' recipes, as `platolm train` takes them
stages/01-clean.json when and from what a stage was begun, and what came of it; written last, by rename
stack/               Redis and logs of the stack that serves the loop
outdated/            outputs whose inputs have changed since; nothing is removed
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from platolm.dataset import SHAREGPT_FILE
from platolm.errors import InputError, OccupiedError, OutputError
from platolm.held import held
from platolm.storage import write_atomically
from training.loop.recipe import LoopRecipe

LOOP_FILE = "loop.json"
REPORT_FILE = "report.json"
TRAIN_FILE, TEST_FILE = "train.jsonl", "test.jsonl"


class Stage(StrEnum):
    """In their order; each is a folder of the loop's, but the last, which is servers."""

    CLEAN = "01-clean"
    SOCRATIC = "02-socratic"
    DIALOGUES = "03-dialogues"
    PLATOLM = "04-platolm"
    EVALUATE = "05-evaluate"
    SERVE = "06-serve"


_COMPLETE: Mapping[Stage, tuple[str, ...]] = {
    Stage.CLEAN: (TRAIN_FILE, TEST_FILE, REPORT_FILE),
    Stage.SOCRATIC: ("result.json", "model/config.json"),
    Stage.DIALOGUES: (SHAREGPT_FILE,),
    Stage.PLATOLM: ("result.json", "model/config.json"),
    Stage.EVALUATE: (REPORT_FILE,),
    Stage.SERVE: (),
}
"""Files without which a stage's output is not whole."""


class StageRecord(BaseModel):
    """What is known of a stage. Later stages hang on `id`, which is given anew at each completion, and None before.

    `seconds` counts all attempts from the same inputs.
    """

    model_config = ConfigDict(extra="forbid")

    fingerprint: str
    command: str
    seconds: float = 0.0
    id: str | None = None
    figures: dict[str, Any] = {}


class LoopFolder:
    """One loop's folder, held by one process at a time. Make it with `open_loop`."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def stack(self) -> Path:
        return self.path / "stack"

    def output(self, stage: Stage) -> Path:
        return self.path / stage

    def model(self, stage: Stage) -> Path:
        """Of a training."""
        return self.output(stage) / "model"

    def training_recipe(self, stage: Stage) -> Path:
        return self.path / "recipes" / f"{stage}.json"

    def loop(self) -> LoopRecipe:
        """The recipe as it was last resolved.

        Raises:
            InputError: the folder is none of a loop.
        """
        try:
            return LoopRecipe.model_validate_json((self.path / LOOP_FILE).read_bytes())
        except (OSError, ValidationError) as error:
            raise InputError(f"{self.path} holds no {LOOP_FILE} of this version: start with `platolm loop`") from error

    def record(self, stage: Stage) -> StageRecord | None:
        try:
            return StageRecord.model_validate_json(self._record_path(stage).read_bytes())
        except (FileNotFoundError, ValidationError):
            return None

    def done(self, stage: Stage, fingerprint: str) -> StageRecord | None:
        """The record of a stage that needs not be made: complete, from the same inputs, its output still there."""
        record = self.record(stage)
        if record is None or record.id is None or record.fingerprint != fingerprint:
            return None
        return record if self._is_whole(stage) else None

    def begin(self, stage: Stage, fingerprint: str, command: str) -> Path | None:
        """Note that a stage is being made; gives where an output of other inputs was moved."""
        before = self.record(stage)
        resumes = before is not None and before.id is None and before.fingerprint == fingerprint
        moved = None if resumes else self._set_aside(stage)
        seconds = before.seconds if resumes and before is not None else 0.0
        self._write(stage, StageRecord(fingerprint=fingerprint, command=command, seconds=seconds))
        return moved

    def pause(self, stage: Stage, seconds: float) -> None:
        """It was stopped after so many seconds, and goes on later."""
        record = self.record(stage)
        assert record is not None, "it was begun"
        self._write(stage, record.model_copy(update={"seconds": record.seconds + seconds}))

    def finish(self, stage: Stage, seconds: float, figures: Mapping[str, Any]) -> StageRecord:
        """It is complete.

        Raises:
            OutputError: a file of its output is missing.
        """
        if not self._is_whole(stage):
            raise OutputError(f"{self.output(stage)} is not whole: it needs {', '.join(_COMPLETE[stage])}")
        record = self.record(stage)
        assert record is not None, "it was begun"
        changes = {"seconds": record.seconds + seconds, "id": secrets.token_hex(8), "figures": dict(figures)}
        record = record.model_copy(update=changes)
        self._write(stage, record)
        return record

    def _is_whole(self, stage: Stage) -> bool:
        return all((self.output(stage) / name).is_file() for name in _COMPLETE[stage])

    def _set_aside(self, stage: Stage) -> Path | None:
        """Move the stage's output away; the stack's own data with the dialogues', whose run it would go on with."""
        names = [stage.value, *([self.stack.name] if stage is Stage.DIALOGUES else [])]
        there = [name for name in names if (self.path / name).exists()]
        if not there:
            return None
        number = 1
        while (place := self.path / "outdated" / f"{stage}-{number}").exists():
            number += 1
        place.mkdir(parents=True)
        for name in there:
            os.rename(self.path / name, place / name)
        return place

    def _record_path(self, stage: Stage) -> Path:
        return self.path / "stages" / f"{stage}.json"

    def _write(self, stage: Stage, record: StageRecord) -> None:
        write_atomically(self._record_path(stage), record.model_dump_json(indent=2).encode() + b"\n")


@contextmanager
def open_loop(path: Path, loop: LoopRecipe) -> Iterator[LoopFolder]:
    """Hold a folder for a loop: a new one, or one in which a loop was begun; its `loop.json` is of this recipe then.

    Raises:
        OccupiedError: it holds something else, or another process works there; nothing in it was touched.
        OutputError: it cannot be created or written.
    """
    with held(path, busy="another loop works in"):
        if any(path.iterdir()) and not (path / LOOP_FILE).is_file():
            raise OccupiedError(f"{path} is not empty and holds no loop: give another --out")
        write_atomically(path / LOOP_FILE, loop.model_dump_json(indent=2).encode() + b"\n")
        yield LoopFolder(path)
