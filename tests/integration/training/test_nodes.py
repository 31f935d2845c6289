"""Two machines train as one: two launches of the command on one machine, each a node with a process, gloo between them.

What a second machine would add, its network and a folder over NFS, is not here.
"""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import torch

from platolm.errors import OccupiedError
from tests.integration.training.conftest import REPOSITORY, NewRun, environment, losses, run_ranks, weights
from tests.integration.training.conftest import finished as finished_ranks
from tests.redis_server import free_port
from training.checkpoints import newest_checkpoint
from training.consolidate import consolidate
from training.models import load_model
from training.restoring import read_sharded_weights
from training.run_folder import RunFolder

pytestmark = [pytest.mark.slow]

END_TIMEOUT_S = 100.0


@dataclass
class Nodes:
    """The processes of `platolm train`, one a node."""

    processes: list[subprocess.Popen[str]]

    def lose(self, rank: int) -> None:
        """SIGKILL everything of a node at once, its rank first: nothing is saved, as when the power goes."""
        command = psutil.Process(self.processes[rank].pid)
        for process in reversed(command.children(recursive=True)):
            process.kill()
        command.kill()

    def ends(self) -> list[tuple[int, str]]:
        """Every node's exit code and messages, once all have ended."""
        messages = [process.communicate(timeout=END_TIMEOUT_S)[1] for process in self.processes]
        return [(process.returncode, said) for process, said in zip(self.processes, messages, strict=True)]


@contextmanager
def nodes(run: RunFolder, num_nodes: int = 2) -> Iterator[Nodes]:
    """`platolm train` on so many nodes of one process each, in a folder that holds its recipe."""
    rendezvous = f"127.0.0.1:{free_port()}"
    argv = [sys.executable, "-m", "platolm", "train", str(run.path / "recipe.json"), "--out", str(run.path)]
    argv += ["--processes", "1", "--nodes", str(num_nodes), "--rendezvous", rendezvous]
    processes = [
        subprocess.Popen(
            [*argv, "--node-rank", str(rank)],
            env=environment(run.path / ".cache"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            cwd=REPOSITORY,
        )
        for rank in range(num_nodes)
    ]
    try:
        yield Nodes(processes)
    finally:
        for process in processes:
            process.kill()  # its guard takes the ranks along
            process.wait()
            assert process.stderr is not None
            process.stderr.close()


def train_on_nodes(run: RunFolder, num_nodes: int = 2) -> None:
    with nodes(run, num_nodes) as started:
        for code, messages in started.ends():
            assert code == 0, messages[-3000:]


def assert_equal(one: RunFolder, other: RunFolder) -> None:
    """To the bit: every step's loss, every weight of the export."""
    assert losses(one) == losses(other)
    assert weights(one).keys() == weights(other).keys()
    for name, weight in weights(one).items():
        assert torch.equal(weight, weights(other)[name]), name


def assert_close(one: RunFolder, other: RunFolder) -> None:
    """Up to the order of float32 sums; the export is in bfloat16."""
    assert losses(one).keys() == losses(other).keys()
    for step, loss in losses(one).items():
        assert losses(other)[step] == pytest.approx(loss, rel=1e-4), step
    for name, weight in weights(one).items():
        torch.testing.assert_close(weight, weights(other)[name], atol=2e-2, rtol=0, msg=name)


@pytest.fixture(scope="module")
def two_nodes(new_run: NewRun) -> RunFolder:
    run = new_run("two_nodes")
    train_on_nodes(run)
    return run


@pytest.mark.timeout(300)
def test_two_nodes_equal_one(two_nodes: RunFolder, new_run: NewRun) -> None:
    """One node with two processes: to the bit. One process: the same sums in another order."""
    two_processes, one_process = new_run("two_processes"), new_run("one_process")
    finished_ranks(run_ranks(two_processes, num_ranks=2))
    assert_equal(two_processes, two_nodes)
    finished_ranks(run_ranks(one_process))
    assert_close(one_process, two_nodes)
    for name in ("model", "adapter", "result.json", "data.json", "loss.png", "logs"):
        assert (two_nodes.path / name).exists() == (one_process.path / name).exists(), name
    assert len(list(two_nodes.logs.iterdir())) == 1, "more than one node logged"


@pytest.mark.timeout(500)
def test_a_killed_node_stops_the_other_and_the_run_goes_on_from_the_last_sharded_checkpoint(
    two_nodes: RunFolder, new_run: NewRun
) -> None:
    interrupted = new_run("interrupted")
    with nodes(interrupted) as started:
        wait_for_a_checkpoint(interrupted, started)
        started.lose(1)
        (left, messages), (killed, _) = started.ends()
    assert killed == -signal.SIGKILL
    assert left == 1, messages[-3000:]
    assert "another process of this run is gone" in messages
    assert "is intact" in messages
    assert "Traceback" not in messages
    assert interrupted.result() is None
    assert list(interrupted.checkpoints.glob("checkpoint-3/*/__1_0.distcp")), "weights were not sharded"
    assert_consolidates_to(interrupted, interrupted.path.with_name("folder"))
    changing = copied(interrupted, new_run("changing"))
    train_on_nodes(interrupted)
    assert_equal(two_nodes, interrupted)
    for num_ranks, until in ((1, 7), (3, None)):
        go_on(changing, num_ranks, until)
    assert_close(two_nodes, changing)


def assert_consolidates_to(run: RunFolder, folder: Path) -> None:
    """A checkpoint of two ranks becomes an ordinary folder with the weights that the ranks had."""
    newest = newest_checkpoint(run.checkpoints)
    assert newest is not None
    consolidate(run, folder)
    model = load_model(folder, dtype="bfloat16")
    sharded = load_model(run.recipe().model.path)
    read_sharded_weights(sharded, newest)
    start = load_model(run.recipe().model.path).state_dict()
    for name, weight in sharded.state_dict().items():
        assert torch.equal(model.state_dict()[name], weight.bfloat16()), name
        assert not torch.equal(start[name], weight), f"{name} was not read"
    with pytest.raises(OccupiedError, match="is there already"):
        consolidate(run, folder)


def go_on(run: RunFolder, num_ranks: int, until: int | None) -> None:
    """Take up what is saved with so many ranks, to the end or to a stop that saves after a step."""
    if until is None:
        finished_ranks(run_ranks(run, num_ranks=num_ranks))
        return
    result = run_ranks(run, num_ranks=num_ranks, options=("--send", "SIGTERM", "--after", str(until)))
    assert (run.checkpoints / f"checkpoint-{until + 1}" / "complete.json").is_file(), result.stderr[-3000:]


def copied(run: RunFolder, to: RunFolder) -> RunFolder:
    """The run's checkpoints in another folder of the same recipe."""
    shutil.copytree(run.checkpoints, to.checkpoints)
    return to


def wait_for_a_checkpoint(run: RunFolder, started: Nodes) -> None:
    deadline = time.monotonic() + END_TIMEOUT_S
    while not list(run.checkpoints.glob("checkpoint-*/complete.json")):
        assert time.monotonic() < deadline
        for process in started.processes:
            assert process.poll() is None, process.communicate()[1][-3000:]
        time.sleep(0.02)
