"""What is shown while a model trains: on a terminal, in a pipe, after a resume, and when it fails."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path

from rich.console import Console
from transformers import TrainerControl, TrainerState, TrainingArguments

from training.view.progress import Figures, ProgressCallback, evaluation_line, progress_line

LOG = {"loss": 2.5, "learning_rate": 1e-4, "epoch": 0.5, "tokens_per_s": 12345.6, "mfu": 0.414}
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class Training:
    """Calls a callback as a trainer does, a second a step."""

    def __init__(
        self, console: Console, folder: Path, *, num_steps: int = 100, state: TrainerState | None = None
    ) -> None:
        self.clock = Clock()
        self.view = ProgressCallback(console, clock=self.clock)
        self.args = TrainingArguments(output_dir=str(folder), report_to="none", use_cpu=True)
        self.state = state or TrainerState()
        self.state.max_steps = num_steps
        self.control = TrainerControl()

    def begin(self) -> None:
        self.view.on_train_begin(self.args, self.state, self.control)

    def step(self, *, log: dict[str, float] | None = None, held_out: float | None = None) -> None:
        self.clock.now_s += 1
        self.state.global_step += 1
        self.view.on_step_end(self.args, self.state, self.control)
        if log is not None:
            self.view.on_log(self.args, self.state, self.control, logs=log)
        if held_out is not None:
            metrics = {"eval_loss": held_out, "eval_perplexity": 10.0, "eval_loss_turn_1": 3.0}
            self.view.on_log(self.args, self.state, self.control, logs=metrics)
            self.view.on_evaluate(self.args, self.state, self.control, metrics=metrics)

    def end(self) -> None:
        self.view.on_train_end(self.args, self.state, self.control)


def plain_console() -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=False, highlight=False)


def terminal_console() -> Console:
    return Console(file=io.StringIO(), width=100, force_terminal=True, highlight=False, _environ={"TERM": "xterm"})


def written(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_line_says_where_a_training_stands() -> None:
    figures = Figures(step=1500, num_steps=3000, eta_s=3723)
    assert progress_line(figures) == "step 1,500/3,000 · epoch 0.00 · ETA 1:02:03"
    figures.read(LOG)
    figures.read_evaluation(2.25, 1400)
    figures.read_evaluation(2.5, 1500)
    assert progress_line(figures) == (
        "step 1,500/3,000 · epoch 0.50 · loss 2.5000 · held out 2.5000 (best 2.2500) · 12,346 tokens/s · MFU 41.4% "
        "· ETA 1:02:03"
    )
    figures.step = 3000
    assert progress_line(figures).endswith("MFU 41.4%")


def test_an_evaluation_says_how_it_compares() -> None:
    figures = Figures(step=10, num_steps=20)
    metrics = {"eval_loss": 2.25, "eval_perplexity": 9487.7}
    assert figures.read_evaluation(2.25, 10)
    assert evaluation_line(figures, metrics, is_best=True) == (
        "step 10/20 · held out 2.2500 · perplexity 9,487.70 · best so far"
    )
    assert not figures.read_evaluation(2.25, 15)
    assert not figures.read_evaluation(float("nan"), 16)
    assert evaluation_line(figures, {"eval_loss": 2.5}, is_best=False) == (
        "step 10/20 · held out 2.5000 · best 2.2500 at step 10"
    )


def test_a_pipe_gets_a_line_about_every_five_seconds_every_evaluation_and_the_end(tmp_path: Path) -> None:
    console = plain_console()
    training = Training(console, tmp_path, num_steps=20)
    with training.view:
        training.begin()
        for step in range(1, 21):
            training.step(log=LOG, held_out={8: 2.5, 16: 2.6}.get(step))
        training.end()
    lines = written(console).splitlines()
    assert [line.split(" · ")[0] for line in lines] == [
        *("step 1/20", "step 6/20", "step 8/20", "step 11/20", "step 16/20", "step 16/20", "step 20/20")
    ]
    assert lines[2] == "step 8/20 · held out 2.5000 · perplexity 10.00 · best so far"
    assert lines[5] == "step 16/20 · held out 2.6000 · perplexity 10.00 · best 2.5000 at step 8"
    assert lines[0].endswith("ETA 0:19")
    assert "\x1b" not in written(console)


def test_a_terminal_gets_a_bar_and_keeps_the_evaluations(tmp_path: Path) -> None:
    console = terminal_console()
    training = Training(console, tmp_path)
    with training.view:
        training.begin()
        training.step(log=LOG, held_out=2.25)
        training.step()
        training.end()
    shown = written(console)
    assert "━" in shown
    assert "\x1b[1m2\x1b[0m/100" in shown
    assert "ETA 1:38" in shown
    assert "MFU 41.4%" in shown
    assert "step 1/100 · held out 2.2500 · perplexity 10.00 · best so far" in shown
    last = "step 2/100 · epoch 0.50 · loss 2.5000 · held out 2.2500 · 12,346 tokens/s · MFU 41.4% · ETA 1:38"
    assert shown.splitlines()[-1].endswith(last)


def test_the_bar_is_drawn_four_times_a_second_at_most(tmp_path: Path) -> None:
    console = terminal_console()
    training = Training(console, tmp_path, num_steps=5000)
    training.begin()
    for _ in range(1000):
        training.step()
        training.clock.now_s -= 0.999
    training.view.close()
    assert written(console).count("ETA") <= 1 + 5


def test_the_terminal_is_whole_again_after_a_failure(tmp_path: Path) -> None:
    console = terminal_console()
    training = Training(console, tmp_path)
    with contextlib.suppress(RuntimeError), training.view:
        training.begin()
        raise RuntimeError("CUDA is out of memory")
    assert written(console).rindex(SHOW_CURSOR) > written(console).rindex(HIDE_CURSOR)
    training.view.close()


def test_a_resumed_training_keeps_its_best_and_times_its_own_steps_only(tmp_path: Path) -> None:
    console = plain_console()
    state = TrainerState(global_step=50, best_metric=2.0, best_global_step=40)
    training = Training(console, tmp_path, state=state)
    training.begin()
    training.step(log=LOG, held_out=2.1)
    first, second = written(console).splitlines()
    assert first.endswith("ETA 0:49")
    assert second.endswith("best 2.0000 at step 40")


def test_figures_that_are_missing_are_left_out(tmp_path: Path) -> None:
    console = plain_console()
    training = Training(console, tmp_path)
    training.begin()
    training.step(log={"loss": 1.0, "epoch": 0.25})
    training.step(log={"train_runtime": 3.0})
    assert written(console) == "step 1/100 · epoch 0.25 · loss 1.0000 · ETA 1:39\n"
