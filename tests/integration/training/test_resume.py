"""A run that was stopped, killed, or ran out of disk goes on as if nothing had happened."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.integration.training.conftest import (
    CONTEXT,
    REPOSITORY,
    NewRun,
    environment,
    finished,
    losses,
    run_ranks,
    weights,
)
from training.recipes.recipe import Data, Evaluation, Model, Optimizer, Schedule
from training.run_folder import RunFolder
from training.train import EXIT_STOPPED

pytestmark = [pytest.mark.slow]


def assert_as_if_nothing_had_happened(interrupted: RunFolder, whole: RunFolder) -> None:
    assert losses(interrupted) == losses(whole)
    assert weights(interrupted).keys() == weights(whole).keys()
    for name, weight in weights(whole).items():
        assert torch.equal(weights(interrupted)[name], weight), name


@pytest.fixture(scope="module")
def whole(new_run: NewRun) -> RunFolder:
    run = new_run("whole")
    finished(run_ranks(run))
    return run


def test_a_signal_saves_and_the_losses_after_are_those_without_the_interruption(
    whole: RunFolder, new_run: NewRun
) -> None:
    interrupted = new_run("interrupted")
    stopped = run_ranks(interrupted, options=("--send", "SIGTERM", "--after", "4"))
    assert stopped.returncode == EXIT_STOPPED, stopped.stderr[-3000:]
    assert (interrupted.checkpoints / "checkpoint-5" / "complete.json").is_file()
    assert interrupted.result() is None
    finished(run_ranks(interrupted))
    assert_as_if_nothing_had_happened(interrupted, whole)
    result = interrupted.result()
    assert result is not None
    assert result["held_out_loss_before"] > result["held_out_loss"]


def test_a_kill_costs_the_steps_since_the_checkpoint_with_dropout_and_muon_too(
    new_run: NewRun, untied_base: Path
) -> None:
    """Weights to the bit: the randomness of dropout, both optimizers' moments, the schedule, the order of the data."""
    muon = Optimizer(name="muon", learning_rate=1e-2, muon_learning_rate=0.02)
    groups = {"optimizer": muon, "model": Model(path=str(untied_base), residual_dropout=0.2)}
    whole, interrupted = new_run("whole", **groups), new_run("interrupted", **groups)
    finished(run_ranks(whole))
    stopped = run_ranks(interrupted, options=("--send", "SIGKILL", "--after", "5"))
    assert stopped.returncode == -signal.SIGKILL, stopped.stderr[-3000:]
    finished(run_ranks(interrupted))
    assert_as_if_nothing_had_happened(interrupted, whole)


def test_a_signal_to_one_of_two_ranks_stops_both_after_a_save_and_both_go_on(new_run: NewRun) -> None:
    whole, interrupted = new_run("whole"), new_run("interrupted")
    finished(run_ranks(whole, num_ranks=2))
    stopped = run_ranks(interrupted, num_ranks=2, options=("--send", "SIGTERM", "--after", "4", "--only-rank", "1"))
    assert stopped.returncode != 0
    assert (interrupted.checkpoints / "checkpoint-5" / "complete.json").is_file()
    finished(run_ranks(interrupted, num_ranks=2))
    assert_as_if_nothing_had_happened(interrupted, whole)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_every_process_still_saves(number: signal.Signals, new_run: NewRun) -> None:
    """A terminal sends Ctrl-C to the whole group, the loader's worker too; batch systems do so with SIGTERM."""
    run = new_run("run", schedule=Schedule(epochs=2000))
    process = subprocess.Popen(
        [sys.executable, "-m", "training.train", str(run.path)],
        env=environment(run.path / "cache"),
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        cwd=REPOSITORY,
    )
    try:
        deadline = time.monotonic() + 60
        while not list(run.checkpoints.glob("checkpoint-*/complete.json")):
            assert process.poll() is None, process.communicate()[1][-3000:]
            assert time.monotonic() < deadline
            time.sleep(0.1)
        os.killpg(process.pid, number)
        _, messages = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == EXIT_STOPPED, messages[-3000:]
    assert "the same command goes on from there" in messages
    assert "Traceback" not in messages


def test_a_torn_checkpoint_is_passed_over(whole: RunFolder, new_run: NewRun) -> None:
    torn = new_run("torn")
    stopped = run_ranks(torn, options=("--send", "SIGKILL", "--after", "7"))
    assert stopped.returncode == -signal.SIGKILL
    assert (torn.checkpoints / "checkpoint-6" / "complete.json").is_file()
    (torn.checkpoints / "checkpoint-6" / "optimizer.pt").write_bytes(b"")
    finished(run_ranks(torn))
    assert_as_if_nothing_had_happened(torn, whole)


def test_a_full_disk_while_saving_leaves_the_checkpoint_before_and_says_so(new_run: NewRun) -> None:
    """A limit on the size of a file stands in for the disk: the second, third, ... writes of weights fail."""
    run = new_run("run")
    stopped = run_ranks(run, options=("--send", "SIGKILL", "--after", "4"))
    assert stopped.returncode == -signal.SIGKILL
    result = subprocess.run(
        [sys.executable, "-m", "tests.integration.training.rank", str(run.path)],
        env=environment(run.path / "cache"),
        capture_output=True,
        text=True,
        cwd=REPOSITORY,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)),
        check=False,
    )
    assert result.returncode == 1, result.stderr[-3000:]
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert "could not be written" in line
    assert "checkpoint-3 is intact" in line
    assert [path.name for path in run.checkpoints.glob("checkpoint-*")] == ["checkpoint-3"]
    finished(run_ranks(run))


def test_a_gradient_that_is_not_finite_ends_the_run_before_it_touches_the_weights(new_run: NewRun) -> None:
    run = new_run("run", optimizer=Optimizer(learning_rate=1e30, max_grad_norm=0.0))
    result = run_ranks(run)
    assert result.returncode == 1
    assert "is not finite" in result.stderr
    assert "there is no checkpoint yet" in result.stderr
    assert "optimizer.learning_rate" in result.stderr


def test_a_kill_after_the_last_step_costs_the_export_alone(whole: RunFolder, new_run: NewRun) -> None:
    run = new_run("run")
    shutil.copytree(whole.path, run.path, dirs_exist_ok=True)
    shutil.rmtree(run.model)
    (run.path / "result.json").unlink()
    finished(run_ranks(run))
    assert_as_if_nothing_had_happened(run, whole)
    made, before = run.result(), whole.result()
    assert made is not None
    assert before is not None
    assert {**made, "seconds": 0} == {**before, "seconds": 0}


def test_without_held_out_conversations_the_last_weights_are_the_result(new_run: NewRun, dialogues: Path) -> None:
    data = Data(paths=(str(dialogues),), max_length=CONTEXT, held_out_share=0.0)
    run = new_run("run", data=data, evaluation=Evaluation(every_steps=3, blend=True))
    finished(run_ranks(run))
    result = run.result()
    assert result is not None
    assert result["held_out_loss"] is None
    assert (run.model / "README.md").is_file()


def test_the_best_and_the_newest_checkpoints_stay_and_the_export_is_the_best(new_run: NewRun) -> None:
    """A learning rate so high that the last weights are not the best."""
    run = new_run("run", optimizer=Optimizer(learning_rate=0.05), schedule=Schedule(epochs=8, min_lr_share=1.0))
    finished(run_ranks(run))
    result = run.result()
    assert result is not None
    kept = {path.name for path in run.checkpoints.glob("checkpoint-*")}
    assert kept >= {f"checkpoint-{result['best_step']}", f"checkpoint-{result['steps']}"}
    assert len(kept) == 2
    assert result["held_out_loss"] == pytest.approx(min(loss for _, loss in result["held_out_losses"][1:]), abs=1e-4)
    record = json.loads((run.model / "training.json").read_text(encoding="utf-8"))
    assert record["result"] == result
