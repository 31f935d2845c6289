"""`platolm compose gpus`: an override with one service a GPU."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from platolm.cli.console import message_console
from platolm.compose.gpus import (
    COMPOSE_FILES,
    DEFAULT_OUT,
    SHARED_FILES,
    compose_file_line,
    gpus_override,
    up_command,
    write_override,
)
from platolm.compose.placing import PlacedEngine, parse_gpus, place_engines
from platolm.errors import InputError

DEFAULT_GPU_MEMORY = 0.9


def gpus(
    simulators: Annotated[int, typer.Option(min=1, metavar="N", help="Engines that speak as the user.")],
    respondents: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Engines that answer; not with --shared-engine.", show_default=False),
    ] = None,
    shared_engine: Annotated[
        bool,
        typer.Option("--shared-engine", help="Each engine serves both sides, as in docker-compose.shared.yml."),
    ] = False,
    gpus: Annotated[
        str | None,
        typer.Option(
            metavar="LIST",
            help="Indices or UUIDs of the GPUs to use, with commas between. Default: 0, 1, … as many as are needed.",
            show_default=False,
        ),
    ] = None,
    share: Annotated[
        bool, typer.Option("--share", help="Let several engines stand on one GPU, each with its part of the memory.")
    ] = False,
    gpu_memory: Annotated[
        float,
        typer.Option(min=0.1, max=1, metavar="SHARE", help="Part of a GPU's memory that its engines take together."),
    ] = DEFAULT_GPU_MEMORY,
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write.")] = Path(DEFAULT_OUT),
) -> None:
    """Write a Compose file that gives each engine a GPU of its own, and say how to start the stack with it.

    `--scale` would put all replicas on the same GPU. Engines get GPUs in turn, simulators first; workers, the proxy and
    Prometheus find them as they find replicas. A file that this command wrote before is replaced, another one never.
    """
    if shared_engine == (respondents is not None):
        raise InputError("give either --respondents N, engines of their own, or --shared-engine")
    named = parse_gpus(gpus) if gpus is not None else []
    engines = place_engines(simulators, respondents or 0, named, share=share, memory=gpu_memory)
    command = _command(simulators, respondents, gpus, share=share, gpu_memory=gpu_memory)
    names = SHARED_FILES if shared_engine else COMPOSE_FILES
    write_override(out, gpus_override(Path(), engines, command=command, out=out, names=names))
    _say(engines, out, names)


def _command(simulators: int, respondents: int | None, gpus: str | None, *, share: bool, gpu_memory: float) -> str:
    """What gives the same engines again; without respondents, each serves both sides."""
    parts = ["platolm", "compose", "gpus", "--simulators", str(simulators)]
    parts += ["--shared-engine"] if respondents is None else ["--respondents", str(respondents)]
    parts += ["--gpus", gpus] if gpus is not None else []
    parts += ["--share"] if share else []
    parts += ["--gpu-memory", f"{gpu_memory:g}"] if gpu_memory != DEFAULT_GPU_MEMORY else []
    return shlex.join(parts)


def _say(engines: list[PlacedEngine], out: Path, names: Sequence[str]) -> None:
    console = message_console()
    for engine in engines:
        line = f"{engine.service}: GPU {engine.gpu}, {engine.memory:.2f} of its memory"
        console.print(line, markup=False, soft_wrap=True)
    console.print(f"{out} is written. For every `docker compose` to use it, write into .env:", markup=False)
    console.print(f"    {compose_file_line(out, names)}", markup=False, soft_wrap=True)
    console.print("and leave the -f out of the line that starts the stack:", markup=False, soft_wrap=True)
    print(up_command(out, names))
