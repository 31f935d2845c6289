"""One rank of real training runs, one after another, with what a test wants to see or to happen.

python -m tests.integration.training.rank RUN_FOLDER... [--gradients] [--send NAME --after STEP [--only-rank N]]
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from platolm.cli.console import print_error
from platolm.errors import PlatoLMError
from training.devices import Devices
from training.run_folder import RunFolder
from training.stopping import Stopped, StopSignal
from training.train import EXIT_STOPPED, train


class KeepGradients(TrainerCallback):
    """Saves the first step's gradients, whole, under their parameters' plain names."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_pre_optimizer_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **_: Any
    ) -> None:
        if state.global_step:
            return
        gradients = {}
        for name, parameter in model.named_parameters():
            gradient = parameter.grad
            whole = gradient.full_tensor() if hasattr(gradient, "full_tensor") else gradient
            gradients[name.removeprefix("module.")] = whole.detach().clone()
        if args.process_index == 0:
            torch.save(gradients, self._path)


class SignalAfter(TrainerCallback):
    """Sends this process a signal when a step is done."""

    def __init__(self, number: signal.Signals, step: int) -> None:
        self._number, self._step = number, step

    def on_step_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if state.global_step == self._step:
            os.kill(os.getpid(), self._number)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--gradients", action="store_true")
    parser.add_argument("--send")
    parser.add_argument("--after", type=int)
    parser.add_argument("--only-rank", type=int)
    arguments = parser.parse_args()
    devices = Devices.from_environment()
    for folder in arguments.folders:
        callbacks: list[TrainerCallback] = []
        if arguments.gradients:
            callbacks.append(KeepGradients(folder / "gradients.pt"))
        if arguments.send and arguments.only_rank in (None, devices.rank):
            callbacks.append(SignalAfter(signal.Signals[arguments.send], arguments.after))
        try:
            with StopSignal() as stop:
                train(RunFolder(folder), devices, [*callbacks, stop])
        except Stopped:
            return EXIT_STOPPED
        except PlatoLMError as error:
            return print_error(error)
    return 0


if __name__ == "__main__":
    sys.exit(main())
