"""`platolm run`: make conversations at an orchestrator and bring them into a folder."""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from platolm.cli.console import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    message_console,
    output_console,
    print_bad_lines,
    print_notice,
    printable,
)
from platolm.cli.live import run_view
from platolm.cli.summary import summary_table
from platolm.client import DEFAULT_API_URL, OrchestratorClient
from platolm.dataset import SHAREGPT_FILE
from platolm.errors import ApiError, InputError, OccupiedError, OutputError
from platolm.mirror import DEFAULT_GIVE_UP_AFTER_S, bring_home
from platolm.output import open_run_folder
from platolm.runs import (
    DEFAULT_CONTEXT_TOKENS,
    DEFAULT_MAX_TOKENS,
    DEFAULT_TEMPERATURE,
    Endings,
    RunRequest,
    RunSpec,
    Sampling,
    Seed,
    SeedMode,
    SideSpec,
)
from platolm.seeds import SeedFile, read_seeds
from platolm.summary import RunSummary

DEFAULT_FREE_CONVERSATIONS = 64
_MAX_SHOWN_DEAD = 5

RUN_EPILOG = """
**Examples**

- `platolm run`: 64 conversations that the simulator opens by itself

- `platolm run --seeds questions.jsonl --out data/one`: one conversation for each question of a file

- `platolm run --seeds dolly.jsonl --seed-mode exchange -n 1000 --max-turns 12`: a question and its answer are given

Stopped by Ctrl-C, a crash or a closed laptop? The same command with the same `--out` goes on where it was.
"""


def run(
    seeds: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Seed file: JSON lines or a JSON list, .gz too. A record gives `question`, `instruction` or "
            "`prompt` (and `answer` for exchange mode), or is a ShareGPT or OpenAI conversation.",
        ),
    ] = None,
    conversations: Annotated[
        int | None,
        typer.Option(
            "--conversations",
            "-n",
            min=1,
            metavar="N",
            help="How many. Default: one for each seed, 64 in free mode. "
            "More than there are seeds: the seeds are used again, in turn.",
        ),
    ] = None,
    seed_mode: Annotated[
        SeedMode | None,
        typer.Option(
            metavar="MODE",
            help="What a seed gives: nothing (free), the first question (question), or the first question and its "
            "answer (exchange). Default: question with --seeds, else free.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the dataset. Default: runs/TIME.", show_default=False)
    ] = None,
    context_tokens: Annotated[
        int, typer.Option(min=16, metavar="N", help="A conversation ends when its tokens would exceed this.")
    ] = DEFAULT_CONTEXT_TOKENS,
    max_turns: Annotated[
        int | None, typer.Option(min=2, metavar="N", help="At most so many utterances of both sides together.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Random seed of the run.")] = 0,
    temperature: Annotated[
        float, typer.Option(min=0.0, max=2.0, metavar="T", help="Sampling temperature of both sides.")
    ] = DEFAULT_TEMPERATURE,
    max_tokens: Annotated[
        int, typer.Option(min=1, metavar="N", help="New tokens that an utterance may take.")
    ] = DEFAULT_MAX_TOKENS,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out unusable lines of the seed file.")] = False,
    api: Annotated[
        str, typer.Option(envvar="PLATOLM_API_URL", metavar="URL", help="Address of the orchestrator's API.")
    ] = DEFAULT_API_URL,
    give_up_after: Annotated[
        float, typer.Option(min=0, metavar="S", help="Seconds without an answer of the API after which to stop.")
    ] = DEFAULT_GIVE_UP_AFTER_S,
    show: Annotated[bool, typer.Option("--show", help="Print the run's spec with all defaults, and stop.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Make conversations between the simulator and the respondent, and bring them home as a dataset.

    The folder gets `sharegpt.jsonl`, one conversation a line in order, and while the run goes on the segments that are
    complete. Needs a running stack: see `platolm up`.
    """
    seed_file = _read_seed_file(seeds, seed_mode, skip_bad=skip_bad)
    sampling = Sampling(temperature=temperature, max_tokens=max_tokens)
    request = build_request(
        seed_file.seeds,
        seed_mode=_effective_mode(seeds, seed_mode),
        conversations=conversations,
        seed=seed,
        sampling=sampling,
        endings=Endings(context_tokens=context_tokens, max_turns=max_turns),
    )
    if show:
        output_console().print_json(data={"seeds": len(request.seeds), "spec": request.spec.model_dump(mode="json")})
        return
    _say_what_differs(seed_file, request)
    folder = out or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    try:
        summary = asyncio.run(produce(request, folder, api=api, give_up_after_s=give_up_after))
    except KeyboardInterrupt:
        print_notice(f"stopped; what was submitted goes on at {api}. To follow it again: {resume_command(folder)}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (ApiError, OutputError) as error:
        if folder.exists() and not isinstance(error, OccupiedError):
            print_notice(f"to go on later: {resume_command(folder)}")
        raise
    print_summary(summary, folder, as_json=as_json)
    if summary.dead:
        raise typer.Exit(EXIT_FAILURE)


def build_request(
    seeds: list[Seed],
    *,
    seed_mode: SeedMode,
    conversations: int | None,
    seed: int,
    sampling: Sampling,
    endings: Endings,
) -> RunRequest:
    """The request for a run; both sides sample alike.

    Raises:
        InputError: the options do not go together.
    """
    try:
        spec = RunSpec(
            conversations=conversations or len(seeds) or DEFAULT_FREE_CONVERSATIONS,
            seed_mode=seed_mode,
            seed=seed,
            simulator=SideSpec(profile="socratic", sampling=sampling),
            respondent=SideSpec(profile="platolm", sampling=sampling),
            endings=endings,
        )
        return RunRequest(spec=spec, seeds=seeds)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{where}: {first['msg']}" if where else first["msg"]) from error


async def produce(request: RunRequest, path: Path, *, api: str, give_up_after_s: float) -> RunSummary:
    """Have a run made and brought into the folder, with a view of it on stderr.

    Raises:
        ApiError: the API is not there, refuses the run, or stays away for too long.
        OutputError: the folder holds something else, or cannot be written.
    """
    async with OrchestratorClient(api) as client:
        if not _exists(path):
            await _require_api(client)
        with open_run_folder(path, request, api=api) as folder:
            if folder.run.summary is not None and folder.is_complete:
                print_notice(f"{path} is complete: nothing to do")
                return folder.run.summary
            if folder.run.run_id is not None:
                print_notice(
                    f"going on with run {folder.run.run_id}: {folder.num_conversations:,} conversations are here"
                )
            with run_view() as view:
                return await bring_home(client, folder, request, view, give_up_after_s=give_up_after_s)


def _exists(path: Path) -> bool:
    return path.exists()


async def _require_api(client: OrchestratorClient) -> None:
    """Before anything is created: a mistyped address should leave no trace."""
    try:
        await client.ready()
    except ApiError as error:
        if error.status is None:
            raise ApiError(f"{error}: start it with `platolm up`, or name another with --api") from error


def _effective_mode(seeds: Path | None, seed_mode: SeedMode | None) -> SeedMode:
    return seed_mode or (SeedMode.QUESTION if seeds else SeedMode.FREE)


def _read_seed_file(seeds: Path | None, seed_mode: SeedMode | None, *, skip_bad: bool) -> SeedFile:
    mode = _effective_mode(seeds, seed_mode)
    if mode is SeedMode.FREE:
        if seeds is not None:
            raise InputError("--seed-mode free takes no --seeds: the simulator opens by itself")
        return SeedFile([])
    if seeds is None:
        raise InputError(f"--seed-mode {mode} needs a --seeds file")
    return read_seeds(seeds, mode, skip_bad=skip_bad)


def _say_what_differs(seed_file: SeedFile, request: RunRequest) -> None:
    if seed_file.bad_lines:
        print_bad_lines(seed_file.bad_lines)
        print_notice(f"{len(seed_file.bad_lines):,} unusable lines left out, {len(seed_file.seeds):,} seeds kept")
    if 0 < len(request.seeds) < request.spec.conversations:
        print_notice(
            f"{request.spec.conversations:,} conversations from {len(request.seeds):,} seeds: used again in turn"
        )


def print_summary(summary: RunSummary, folder: Path, *, as_json: bool = False) -> None:
    """The summary on stdout, and the errors of dead conversations on stderr."""
    dataset = folder / SHAREGPT_FILE
    if as_json:
        print(json.dumps({**summary.model_dump(mode="json"), "dataset": str(dataset)}))
    else:
        output_console().print(summary_table(summary, dataset))
    console = message_console()
    for conversation in summary.dead_conversations[:_MAX_SHOWN_DEAD]:
        line = f"dead: {conversation.id} after {conversation.attempts} attempts: {conversation.error}"
        console.print(printable(line), style="red", markup=False, soft_wrap=True)
    if (more := len(summary.dead_conversations) - _MAX_SHOWN_DEAD) > 0:
        console.print(f"dead: {more:,} more", style="red")


def resume_command(folder: Path, argv: list[str] | None = None) -> str:
    """The command line to give again; the folder is added where it was left to its default."""
    arguments = sys.argv[1:] if argv is None else argv
    names_folder = any(argument == "--out" or argument.startswith("--out=") for argument in arguments)
    return shlex.join(["platolm", *arguments, *([] if names_folder else ["--out", str(folder)])])
