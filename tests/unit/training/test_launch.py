"""From the command line to processes: the plan, the folder, and real ranks that end in every way."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from platolm.errors import InputError, OccupiedError
from tests.redis_server import free_port
from training.launch import (
    EXIT_DONE,
    EXIT_FAILED,
    EXIT_STOPPED,
    Launch,
    Placement,
    exit_code_of,
    open_run,
    place,
    plan_launch,
    run_launch,
)
from training.recipes import RECIPES
from training.recipes.overrides import with_overrides
from training.run_folder import RunFolder

RECIPE = RECIPES["platolm_7b"]
MUON = RECIPES["demo_socratic"]
FOLDER = Path("runs/one")

STAND_IN = '''
"""A rank that notes its environment, then ends as the file `how` in the folder says."""
import json, os, signal, sys, time
from pathlib import Path

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")

def main(folder):
    rank = int(os.environ.get("RANK", "0"))
    how = json.loads((folder / "how").read_text())[rank]
    signals = []
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: signals.append(int(number)))
    (folder / f"rank-{rank}.json").write_text(json.dumps({name: os.environ.get(name) for name in NAMES}))
    (folder / f"ready-{rank}").touch()
    while how == "wait" and not signals:
        time.sleep(0.01)
    if how == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "wait":
        (folder / f"saved-{rank}").write_text(json.dumps(signals))
        return 143
    return how

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
'''

LAUNCHER = """
import sys
from pathlib import Path
from training.launch import Placement, plan_launch, run_launch
from training.recipes import RECIPES

folder, placement = Path(sys.argv[1]), Placement(num_processes=int(sys.argv[2]))
launch = plan_launch(RECIPES["platolm_7b"], folder, placement, num_cores=8, environ={}, module="stand_in_rank")
sys.exit(run_launch(launch, folder))
"""


def placed(
    gpus: str = "auto",
    processes: int | None = None,
    *,
    there: int = 0,
    num_nodes: int = 1,
    node_rank: int = 0,
    rendezvous: str | None = None,
) -> Placement:
    return place(
        gpus,
        processes,
        num_nodes=num_nodes,
        node_rank=node_rank,
        rendezvous=rendezvous,
        num_visible_gpus=lambda: there,
    )


def test_devices_are_every_gpu_else_one_process() -> None:
    assert placed(there=4) == Placement(num_gpus=4)
    assert placed(there=0) == Placement(num_gpus=0, num_processes=1)
    assert placed("2", there=4) == Placement(num_gpus=2)
    assert placed("0", there=4) == Placement(num_gpus=0)
    assert placed(processes=3, there=4) == Placement(num_gpus=0, num_processes=3)
    assert placed("0", 3) == Placement(num_gpus=0, num_processes=3)


def test_gpus_are_not_looked_for_where_none_is_wanted() -> None:
    def fail() -> int:
        raise AssertionError

    place("0", None, num_visible_gpus=fail)
    place("auto", 2, num_visible_gpus=fail)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"gpus": "all"}, "--gpus takes a number or auto, not all"),
        ({"gpus": "-1"}, "--gpus takes a number"),
        ({"gpus": "3", "there": 2}, "--gpus 3, but 2 are visible here"),
        ({"gpus": "1", "processes": 2, "there": 2}, "--processes is for the CPU"),
        ({"num_nodes": 2}, "--nodes needs --rendezvous HOST:PORT"),
        ({"num_nodes": 2, "rendezvous": "host"}, "--nodes needs --rendezvous HOST:PORT"),
        ({"num_nodes": 2, "rendezvous": "host:x"}, "--nodes needs --rendezvous HOST:PORT"),
        ({"num_nodes": 2, "rendezvous": "host:1", "node_rank": 2}, "1 is the last of 2 nodes"),
        ({"rendezvous": "host:1"}, "give --nodes too"),
        ({"node_rank": 1}, "give --nodes too"),
    ],
)
def test_options_that_do_not_go_together(options: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        placed(**options)  # type: ignore[arg-type]


def planned(placement: Placement, *, num_cores: int = 8, **environ: str) -> Launch:
    return plan_launch(RECIPE, FOLDER, placement, num_cores=num_cores, environ=environ)


def test_one_process_trains_here() -> None:
    assert planned(Placement()) == Launch(env={"CUDA_VISIBLE_DEVICES": ""})
    assert planned(Placement(num_gpus=1)) == Launch(env={"CUDA_VISIBLE_DEVICES": "0"})
    assert planned(Placement(num_gpus=1), CUDA_VISIBLE_DEVICES="2,3").env == {"CUDA_VISIBLE_DEVICES": "2"}


def test_several_processes_are_torchruns() -> None:
    launch = planned(Placement(num_gpus=4))
    assert launch.argv == (
        *(sys.executable, "-m", "training.launch", "--standalone", "--nproc-per-node", "4"),
        *("--shutdown-timeout", "600", "-m", "training.train", "runs/one"),
    )
    assert launch.env == {"OMP_NUM_THREADS": "2"}


def test_cpu_processes_share_the_cores_and_see_no_gpu() -> None:
    assert planned(Placement(num_processes=4)).env == {"CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "2"}
    assert planned(Placement(num_processes=4), num_cores=2).env["OMP_NUM_THREADS"] == "1"
    assert planned(Placement(num_processes=4), OMP_NUM_THREADS="7").env["OMP_NUM_THREADS"] == "7"


def test_several_nodes_meet_at_the_rendezvous() -> None:
    launch = planned(Placement(num_gpus=1, num_nodes=2, node_rank=1, rendezvous="[::1]:29500"))
    assert launch.argv[3:13] == (
        *("--nnodes", "2", "--node-rank", "1", "--master-addr", "[::1]", "--master-port", "29500"),
        *("--nproc-per-node", "1"),
    )


def test_the_ranks_are_told_how_long_another_may_be_silent() -> None:
    placement = place("0", 2, peer_timeout_s=90, num_visible_gpus=lambda: 0)
    assert planned(placement).env["PLATOLM_TRAIN_PEER_TIMEOUT_S"] == "90"
    assert "PLATOLM_TRAIN_PEER_TIMEOUT_S" not in planned(Placement(num_processes=2)).env


def test_a_node_0_that_is_not_there_is_told_in_one_line() -> None:
    argv = ["--nnodes", "2", "--node-rank", "1", "--master-addr", "127.0.0.1", "--master-port", str(free_port())]
    done = subprocess.run(
        [sys.executable, "-m", "training.launch", *argv, "--rdzv-conf", "timeout=1", "-m", "stand_in_rank"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == EXIT_FAILED
    assert "node 0 does not answer at 127.0.0.1:" in done.stderr
    assert "Traceback" not in done.stderr


def test_muon_runs_in_one_process() -> None:
    plan_launch(MUON, FOLDER, Placement(num_gpus=1), num_cores=2, environ={})
    for placement in (Placement(num_processes=2), Placement(num_nodes=2, rendezvous="h:1")):
        with pytest.raises(InputError, match="muon runs in one process"):
            plan_launch(MUON, FOLDER, placement, num_cores=2, environ={})


@pytest.mark.parametrize(
    ("codes", "code"),
    [
        ([143, 143], EXIT_STOPPED),
        ([2, -signal.SIGTERM], 2),
        ([-signal.SIGTERM, 2], 2),
        ([143, 1], EXIT_FAILED),
        ([-signal.SIGKILL, 143], EXIT_FAILED),
    ],
)
def test_the_first_failure_is_the_exit_code(codes: list[int], code: int) -> None:
    assert exit_code_of(codes) == code


# The folder of a run.


def test_a_new_folder_gets_the_recipe_and_the_same_one_goes_on(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "a" / "b")
    with open_run(folder, RECIPE) as was_begun:
        assert not was_begun
    assert folder.recipe() == RECIPE
    with open_run(folder, RECIPE) as was_begun:
        assert was_begun


def test_hidden_files_do_not_make_a_folder_occupied(tmp_path: Path) -> None:
    (tmp_path / ".recipe.json.left").touch()
    with open_run(RunFolder(tmp_path), RECIPE) as was_begun:
        assert not was_begun


def test_a_folder_of_another_recipe_is_refused_and_not_touched(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with open_run(folder, RECIPE):
        pass
    other = with_overrides(RECIPE, ["seed=3", "batch.size=2"])
    with pytest.raises(OccupiedError, match=r"another recipe \(other batch.size, seed\)"), open_run(folder, other):
        pass
    assert folder.recipe() == RECIPE
    assert os.listdir(tmp_path) == ["recipe.json"]


@pytest.mark.parametrize("name", ["recipe.json", "thesis.tex"])
def test_a_folder_of_something_else_is_refused(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("{}")
    with pytest.raises(OccupiedError, match="is not empty, and no run"), open_run(RunFolder(tmp_path), RECIPE):
        pass
    assert (tmp_path / name).read_text() == "{}"


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(OccupiedError, match="is, or lies below, a file"), open_run(RunFolder(path), RECIPE):
            pass


def test_fresh_refuses_a_folder_in_which_the_run_was_begun(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with open_run(folder, RECIPE, fresh=True) as was_begun:
        assert not was_begun
    with pytest.raises(OccupiedError, match="--fresh wants a new one"), open_run(folder, RECIPE, fresh=True):
        pass


def test_one_process_at_a_time_but_other_nodes_of_the_run_too(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    with open_run(folder, RECIPE):
        with pytest.raises(OccupiedError, match="another process trains in"), open_run(folder, RECIPE):
            pass
        with open_run(folder, RECIPE, fresh=True, shared=True) as was_begun:
            assert was_begun
    descriptor = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(descriptor)


# Real processes.


@pytest.fixture
def stand_in(tmp_path: Path) -> Path:
    """A folder for `sys.path` with the module `stand_in_rank`."""
    folder = tmp_path / "modules"
    folder.mkdir()
    (folder / "stand_in_rank.py").write_text(STAND_IN)
    return folder


@pytest.fixture
def run_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    folder.mkdir()
    return folder


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start(stand_in: Path, run_folder: Path) -> Iterator[Start]:
    """Launch so many ranks that end as they are told; what still runs at the end is killed."""
    launchers: list[subprocess.Popen[str]] = []

    def start_ranks(*how: str | int) -> subprocess.Popen[str]:
        (run_folder / "how").write_text(json.dumps(how))
        path = os.pathsep.join([str(stand_in), os.environ.get("PYTHONPATH", "")])
        launcher = subprocess.Popen(
            [sys.executable, "-c", LAUNCHER, str(run_folder), str(len(how))],
            env={name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | {"PYTHONPATH": path},
            stderr=subprocess.PIPE,
            text=True,
        )
        launchers.append(launcher)
        return launcher

    yield start_ranks
    for launcher in launchers:
        launcher.kill()
        launcher.wait()
        assert launcher.stderr is not None
        launcher.stderr.close()


def wait_for(*paths: Path) -> None:
    """Come back when all of them are there; the test's own timeout bounds it."""
    while not all(path.exists() for path in paths):
        time.sleep(0.01)


def test_one_process_runs_here(stand_in: Path, run_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(stand_in)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5")
    monkeypatch.delenv("RANK", raising=False)
    (run_folder / "how").write_text("[7]")
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    launch = plan_launch(RECIPE, run_folder, Placement(), num_cores=2, environ={}, module="stand_in_rank")
    try:
        assert run_launch(launch, run_folder) == 7
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert json.loads((run_folder / "rank-0.json").read_text())["CUDA_VISIBLE_DEVICES"] == ""


def test_several_ranks_see_one_another_and_end_well(start: Start, run_folder: Path) -> None:
    launcher = start(0, 0)
    _, errors = launcher.communicate()
    assert (launcher.returncode, errors) == (EXIT_DONE, "")
    ranks = [json.loads((run_folder / f"rank-{rank}.json").read_text()) for rank in range(2)]
    assert ranks == [
        {
            "RANK": str(rank),
            "WORLD_SIZE": "2",
            "LOCAL_RANK": str(rank),
            "OMP_NUM_THREADS": "4",
            "CUDA_VISIBLE_DEVICES": "",
        }
        for rank in range(2)
    ]


@pytest.mark.parametrize(
    ("how", "code", "told"),
    [
        ((0, 2), 2, "rank 1 failed first: exit code 2"),
        (("killed", "wait"), EXIT_FAILED, "rank 0 failed first: killed by SIGKILL"),
    ],
)
def test_a_failed_rank_ends_the_others_and_its_code_is_ours(
    start: Start, how: tuple[str | int, ...], code: int, told: str
) -> None:
    launcher = start(*how)
    _, errors = launcher.communicate()
    assert (launcher.returncode, errors.splitlines()) == (code, [told])


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_reaches_every_rank_once_and_they_save(start: Start, run_folder: Path, number: signal.Signals) -> None:
    launcher = start("wait", "wait")
    wait_for(run_folder / "ready-0", run_folder / "ready-1")
    launcher.send_signal(number)
    launcher.send_signal(number)
    _, errors = launcher.communicate()
    assert (launcher.returncode, errors.splitlines()) == (EXIT_STOPPED, ["stopping: the ranks save first"])
    assert [json.loads((run_folder / f"saved-{rank}").read_text()) for rank in range(2)] == [[signal.SIGTERM]] * 2


def test_no_rank_outlives_its_launcher(start: Start, run_folder: Path) -> None:
    launcher = start("wait", "wait")
    wait_for(run_folder / "ready-0", run_folder / "ready-1")
    launcher.kill()
    wait_for(run_folder / "saved-0", run_folder / "saved-1")
