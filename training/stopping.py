"""A signal asks for the end: the step is finished, a checkpoint is saved, all ranks leave together."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType
from typing import Any, Self

import torch
from torch.distributed import ReduceOp, all_reduce, is_initialized
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopped(Exception):  # noqa: N818 (it is no error)
    """The run ended early, as asked; its checkpoint is saved."""


class StopSignal(TrainerCallback):
    """While inside, SIGTERM and SIGINT end the training after the step in hand; a second one ends it at once."""

    def __init__(self) -> None:
        self._asked = False
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        self._former = {one: signal.signal(one, self._ask) for one in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self._asked_anywhere(args.device):
            self._asked = control.should_save = control.should_training_stop = True
        return control

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if self._asked and control.should_training_stop:
            raise Stopped(f"stopped after step {state.global_step:,} of {state.max_steps:,}, which is saved")

    def _ask(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        self._restore()

    def _restore(self) -> None:
        for one, former in self._former.items():
            signal.signal(one, former)
        self._former = {}

    def _asked_anywhere(self, device: torch.device) -> bool:
        """The signal need not reach every rank before the same step."""
        if not is_initialized():
            return self._asked
        asked = torch.tensor(int(self._asked), device=device)
        all_reduce(asked, op=ReduceOp.MAX)
        return bool(asked.item())
