"""From a recipe to running processes: how many, on which devices, started how, and what their end means.

One process trains right here. Several are torchrun's children: `python -m training.launch` is torchrun
(`torch.distributed.run`, with its arguments) whose end is an exit code of ours instead of a traceback. It stands behind
a guard, so that no rank outlives this process, and hears a stop once, however often it is asked for.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from platolm.cli.console import print_notice
from platolm.errors import InputError, OccupiedError
from platolm.held import held
from platolm.stack.child import ChildProcess, Command
from training.devices import PEER_TIMEOUT
from training.recipes.overrides import differing_keys
from training.recipes.recipe import Recipe
from training.run_folder import RunFolder

RANK_MODULE = "training.train"
"""One rank: `main(run_folder)` gives the exit code, and so does `python -m` with the folder as its argument."""

EXIT_DONE = 0
EXIT_FAILED = 1
EXIT_STOPPED = 128 + signal.SIGTERM
"""Stopped by a signal, after saving: the same command goes on."""

_SHUTDOWN_S = 600
_GUARD_MARGIN_S = 30
_MAX_NAMED_KEYS = 5


@dataclass(frozen=True)
class Placement:
    """The processes of a run: on each of `num_nodes` machines one a GPU, or without GPUs `num_processes` on the CPU."""

    num_gpus: int = 0
    num_processes: int = 1
    num_nodes: int = 1
    node_rank: int = 0
    rendezvous: str = ""
    peer_timeout_s: int | None = None

    @property
    def per_node(self) -> int:
        return self.num_gpus or self.num_processes

    @property
    def world_size(self) -> int:
        return self.per_node * self.num_nodes


@dataclass(frozen=True)
class Launch:
    """What to start: a command, or without `argv` the `main` of a module, here. `env` is added to the environment."""

    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    module: str = RANK_MODULE


def place(
    gpus: str,
    processes: int | None,
    *,
    num_nodes: int = 1,
    node_rank: int = 0,
    rendezvous: str | None = None,
    peer_timeout_s: int | None = None,
    num_visible_gpus: Callable[[], int],
) -> Placement:
    """What the command line asks for, checked against what is there.

    Args:
        gpus: a number, or "auto": every visible one.
        processes: on the CPU; GPUs are left alone then.
        num_nodes: machines that take part.
        node_rank: which of them this is, from 0.
        rendezvous: HOST:PORT of node 0, for several nodes.
        peer_timeout_s: a process that is waited for so long counts as gone; None: the trainer's own limit.
        num_visible_gpus: asked only where it matters; it may be slow.

    Raises:
        InputError: the options do not go together, or there are fewer GPUs.
    """
    if gpus != "auto" and not gpus.isdecimal():
        raise InputError(f"--gpus takes a number or auto, not {gpus}")
    if processes is not None and gpus not in ("auto", "0"):
        raise InputError("--processes is for the CPU: take it or --gpus away")
    _check_nodes(num_nodes, node_rank, rendezvous)
    num_gpus = 0
    if processes is None and gpus != "0":
        num_there = num_visible_gpus()
        num_gpus = num_there if gpus == "auto" else int(gpus)
        if num_gpus > num_there:
            raise InputError(f"--gpus {num_gpus}, but {num_there} are visible here")
    return Placement(num_gpus, processes or 1, num_nodes, node_rank, rendezvous or "", peer_timeout_s)


def plan_launch(
    recipe: Recipe,
    run_folder: Path,
    placement: Placement,
    *,
    num_cores: int,
    environ: Mapping[str, str],
    module: str = RANK_MODULE,
) -> Launch:
    """How to start a run whose folder holds its recipe. Nothing is started or looked up.

    Raises:
        InputError: the recipe cannot run in several processes.
    """
    if recipe.optimizer.name == "muon" and placement.world_size > 1:
        raise InputError("optimizer.name=muon runs in one process: take --gpus 1, or --set optimizer.name=adamw")
    env = _environment(placement, num_cores, environ)
    if placement.world_size == 1:
        return Launch(env=env, module=module)
    return Launch(
        argv=(
            *(sys.executable, "-m", "training.launch", *_rendezvous(placement)),
            *("--nproc-per-node", str(placement.per_node), "--shutdown-timeout", str(_SHUTDOWN_S)),
            *("-m", module, str(run_folder)),
        ),
        env=env,
        module=module,
    )


def run_launch(launch: Launch, run_folder: Path) -> int:
    """Train until the end; the exit code: 0 done, 143 stopped after saving, 1 or 2 failed."""
    if launch.argv:
        return asyncio.run(_supervise(launch))
    os.environ.update(launch.env)
    code: int = importlib.import_module(launch.module).main(run_folder)
    return code


@contextmanager
def open_run(folder: RunFolder, recipe: Recipe, *, fresh: bool = False, shared: bool = False) -> Iterator[bool]:
    """Hold a folder for a run of this recipe: a new one, or the one in which it was begun; gives whether it was.

    Args:
        folder: created where it is missing; an empty one gets the recipe.
        recipe: the resolved one.
        fresh: refuse a folder in which the run was begun already.
        shared: another node of the same run holds it.

    Raises:
        OccupiedError: it holds something else, or another process trains there; nothing in it was touched.
        OutputError: it cannot be created or written.
    """
    with held(folder.path, busy="another process trains in", shared=shared):
        was_begun = any(not name.startswith(".") for name in os.listdir(folder.path))
        if was_begun:
            _require_same(folder, recipe)
            if fresh and not shared:
                raise OccupiedError(f"{folder.path} holds this run already, and --fresh wants a new one: another --out")
        else:
            folder.write_recipe(recipe)
        yield was_begun


def exit_code_of(codes: Iterable[int]) -> int:
    """What the ranks' exit codes mean together: the first failure counts, not those that were stopped after it."""
    failed = [code for code in codes if code not in (EXIT_DONE, EXIT_STOPPED, -signal.SIGTERM)]
    if failed:
        return failed[0] if failed[0] > 0 else EXIT_FAILED
    return EXIT_STOPPED


def main(argv: Sequence[str]) -> int:
    """torchrun with these arguments; its exit code is the ranks' own."""
    from torch.distributed import DistError
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import parse_args, run

    logging.disable(logging.ERROR)  # what torchrun has to say comes in one line below
    arguments = parse_args(list(argv))  # type: ignore[no-untyped-call]
    try:
        run(arguments)  # type: ignore[no-untyped-call]
    except SignalException:
        return EXIT_STOPPED  # torchrun has passed the signal on, and waited until every rank was gone
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = exit_code_of([failure.exitcode, *(other.exitcode for other in error.failures.values())])
        if code != EXIT_STOPPED:
            print_notice(f"rank {rank} failed first: {_ending(failure.exitcode)}")
        return code
    except DistError as error:  # the store of node 0: never there, or gone
        print_notice(
            f"node 0 does not answer at {arguments.master_addr}:{arguments.master_port} ({_first_line(error)}): give "
            "every machine its command again"
        )
        return EXIT_FAILED
    return EXIT_DONE


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _ending(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"


async def _supervise(launch: Launch) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    command = Command(launch.argv, launch.env, grace_s=_SHUTDOWN_S + _GUARD_MARGIN_S)
    child = await ChildProcess.start(command)
    ended, asked = asyncio.create_task(child.wait()), asyncio.create_task(stop.wait())
    await asyncio.wait({ended, asked}, return_when=asyncio.FIRST_COMPLETED)
    asked.cancel()
    if ended.done():
        return ended.result()
    print_notice("stopping: the ranks save first")
    return await child.stop()


def _environment(placement: Placement, num_cores: int, environ: Mapping[str, str]) -> dict[str, str]:
    env = {}
    if not placement.num_gpus:
        env["CUDA_VISIBLE_DEVICES"] = ""
    elif placement.per_node == 1:  # transformers would spread one process over all it sees
        env["CUDA_VISIBLE_DEVICES"] = environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]
    if placement.peer_timeout_s is not None:
        env[PEER_TIMEOUT] = str(placement.peer_timeout_s)
    if placement.per_node > 1:
        env["OMP_NUM_THREADS"] = environ.get("OMP_NUM_THREADS", str(max(1, num_cores // placement.per_node)))
    return env


def _rendezvous(placement: Placement) -> tuple[str, ...]:
    if placement.num_nodes == 1:
        return ("--standalone",)
    host, _, port = placement.rendezvous.rpartition(":")
    return (
        *("--nnodes", str(placement.num_nodes), "--node-rank", str(placement.node_rank)),
        *("--master-addr", host, "--master-port", port),
    )


def _check_nodes(num_nodes: int, node_rank: int, rendezvous: str | None) -> None:
    if num_nodes == 1:
        if node_rank or rendezvous:
            raise InputError("--node-rank and --rendezvous are for several machines: give --nodes too")
        return
    host, _, port = (rendezvous or "").rpartition(":")
    if not host or not port.isdecimal():
        raise InputError("--nodes needs --rendezvous HOST:PORT, an address of node 0 that all of them reach")
    if node_rank >= num_nodes:
        raise InputError(f"--node-rank counts from 0: {num_nodes - 1} is the last of {num_nodes} nodes")


def _require_same(folder: RunFolder, recipe: Recipe) -> None:
    try:
        begun = folder.recipe()
    except InputError:
        raise OccupiedError(f"{folder.path} is not empty, and no run of this version is in it: another --out") from None
    keys = differing_keys(begun, recipe)
    if keys:
        named = ", ".join(keys[:_MAX_NAMED_KEYS]) + (", …" if len(keys) > _MAX_NAMED_KEYS else "")
        raise OccupiedError(
            f"{folder.path} holds a run of another recipe (other {named}): give another --out, or the settings and "
            "data that it was begun with"
        )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
