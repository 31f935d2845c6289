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

from platolm.cli.api_access import ApiKeyOption, ApiOption, GiveUpAfterOption, with_advice
from platolm.cli.api_weights import weights_of
from platolm.cli.console import (
    EXIT_FAILURE,
    EXIT_INTERRUPTED,
    message_console,
    output_console,
    print_notice,
    printable,
)
from platolm.cli.instruction import instruction_text
from platolm.cli.live import run_view
from platolm.cli.run_options import (
    DATASET_PANEL,
    BudgetOption,
    ContextTokensOption,
    ConversationsOption,
    ExtraTurnsOption,
    FromTurnOption,
    GoodbyeThresholdOption,
    InstructionOption,
    MaxInFlightOption,
    MaxTokensOption,
    MaxTurnsOption,
    MinTurnsOption,
    NameOption,
    OutputFormatOption,
    OutputUrlOption,
    RepeatsOption,
    RespondentApiOption,
    RespondentModelOption,
    RespondentProfileOption,
    SeedModeOption,
    SeedOption,
    SeedsOption,
    SimulatorApiOption,
    SimulatorModelOption,
    SimulatorProfileOption,
    SkipBadOption,
    SpecArgument,
    StopPhraseOption,
    TemperatureOption,
)
from platolm.cli.run_request import Composed, compose, say_what_differs
from platolm.cli.run_request import build_request as build_request
from platolm.cli.summary import summary_table
from platolm.client import DEFAULT_API_URL, OrchestratorClient
from platolm.dataset import SHAREGPT_FILE
from platolm.errors import ApiError, OccupiedError, OutputError
from platolm.mirror import DEFAULT_GIVE_UP_AFTER_S, bring_home
from platolm.output import RunFolder, open_run_folder
from platolm.runs import RunState
from platolm.spec import RunRequest
from platolm.spec_text import spec_json, spec_yaml
from platolm.summary import RunSummary

_MAX_SHOWN_DEAD = 5
_SECRET_OPTION = "--api-key"

RUN_EPILOG = """
**Examples**

- `platolm run`: 64 conversations that the simulator opens by itself

- `platolm run --seeds questions.jsonl --out data/one`: one conversation for each question of a file

- `platolm run --seeds dolly.jsonl --seed-mode exchange -n 1000 --max-turns 12`: a question and its answer are given

- `platolm run --seeds people.jsonl --seed-mode intent --repeats 5`: the simulator is told who it is and what it wants

- `platolm run --seeds old.jsonl --seed-mode continue --from-turn 4`: four turns of each conversation, then new ones

- `platolm run --seeds old.jsonl --seed-mode reanswer`: every question of each conversation, with new answers

- `platolm run --simulator-profile roleplay --instruction caller.txt --seeds people.jsonl --seed-mode intent`: a chat
  model plays the user, in words of yours

- `platolm run --seeds questions.jsonl --respondent-api openai=3 --respondent-api laptop --budget 20`: chat APIs answer,
  `openai` three conversations of four

- `platolm run --show > run.yaml`: every field of a run's spec with what it means, to change and to save

- `platolm run run.yaml --seed 7 --out data/seven`: that spec, with another seed

Stopped by Ctrl-C, a crash or a closed laptop? The same command with the same `--out` goes on where it was.
"""


def run(
    spec: SpecArgument = None,
    seeds: SeedsOption = None,
    conversations: ConversationsOption = None,
    seed_mode: SeedModeOption = None,
    from_turn: FromTurnOption = None,
    repeats: RepeatsOption = None,
    seed: SeedOption = None,
    context_tokens: ContextTokensOption = None,
    min_turns: MinTurnsOption = None,
    max_turns: MaxTurnsOption = None,
    stop_phrase: StopPhraseOption = None,
    goodbye_threshold: GoodbyeThresholdOption = None,
    extra_turns: ExtraTurnsOption = None,
    max_in_flight: MaxInFlightOption = None,
    simulator_profile: SimulatorProfileOption = None,
    instruction: InstructionOption = None,
    respondent_profile: RespondentProfileOption = None,
    simulator_model: SimulatorModelOption = None,
    respondent_model: RespondentModelOption = None,
    simulator_api: SimulatorApiOption = None,
    respondent_api: RespondentApiOption = None,
    budget: BudgetOption = None,
    temperature: TemperatureOption = None,
    max_tokens: MaxTokensOption = None,
    name: NameOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder for the dataset. Default: runs/TIME.",
            show_default=False,
            rich_help_panel=DATASET_PANEL,
        ),
    ] = None,
    output_format: OutputFormatOption = None,
    output_url: OutputUrlOption = None,
    skip_bad: SkipBadOption = False,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
    give_up_after: GiveUpAfterOption = DEFAULT_GIVE_UP_AFTER_S,
    show: Annotated[
        bool,
        typer.Option(
            "--show", help="Print the run's spec with all defaults and what they mean, and stop; with --json, as JSON."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON object.")] = False,
) -> None:
    """Make conversations between the simulator and the respondent, and bring them home as a dataset.

    The folder gets `sharegpt.jsonl`, one conversation a line in order, and while the run goes on the segments that are
    complete. Needs a running stack: see `platolm up`.
    """
    values = {
        "conversations": conversations,
        "name": name,
        "seed_mode": None if seed_mode is None else seed_mode.value,
        "from_turn": from_turn,
        "repeats": repeats,
        "seed": seed,
        "simulator.profile": simulator_profile,
        "simulator.instruction": None if instruction is None else instruction_text(instruction),
        "respondent.profile": respondent_profile,
        "simulator.model": simulator_model,
        "respondent.model": respondent_model,
        "simulator.apis": weights_of(simulator_api),
        "respondent.apis": weights_of(respondent_api),
        "limits.budget": budget,
        **{f"{side}.sampling.temperature": temperature for side in ("simulator", "respondent")},
        **{f"{side}.sampling.max_tokens": max_tokens for side in ("simulator", "respondent")},
        "endings.context_tokens": context_tokens,
        "endings.min_turns": min_turns,
        "endings.max_turns": max_turns,
        "endings.stop_phrases": stop_phrase or None,
        "endings.goodbye_threshold": goodbye_threshold,
        "endings.extra_turns": extra_turns,
        "limits.in_flight": max_in_flight,
        "output.format": None if output_format is None else output_format.value,
        "output.url": output_url,
    }
    composed = compose(spec, values, seeds=seeds, skip_bad=skip_bad)
    if show:
        _show(composed, as_json=as_json)
        return
    say_what_differs(composed)
    folder = out or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
    try:
        work = produce(composed.request, folder, api=api, api_key=api_key, give_up_after_s=give_up_after)
        summary = asyncio.run(work)
    except KeyboardInterrupt:
        print_notice(f"stopped; what was submitted goes on at {api}. To follow it again: {resume_command(folder)}")
        raise typer.Exit(EXIT_INTERRUPTED) from None
    except (ApiError, OutputError) as error:
        if folder.exists() and not isinstance(error, OccupiedError):
            print_notice(f"to go on later: {resume_command(folder)}")
        raise
    print_summary(summary, folder, as_json=as_json)
    if not summary.is_whole:
        raise typer.Exit(EXIT_FAILURE)


def _show(composed: Composed, *, as_json: bool) -> None:
    """The spec; the seed file by its whole path, so that the text may be saved anywhere."""
    seeds = composed.seeds.absolute() if composed.seeds is not None else None
    if as_json:
        print(json.dumps(spec_json(composed.request.spec, seeds), indent=2, ensure_ascii=False))
    else:
        print(spec_yaml(composed.request.spec, seeds), end="")


async def produce(
    request: RunRequest, path: Path, *, api: str, give_up_after_s: float, api_key: str | None = None
) -> RunSummary:
    """Have a run made and brought into the folder, with a view of it on stderr.

    Raises:
        ApiError: the API is not there, refuses the run, or stays away for too long.
        OutputError: the folder holds something else, or cannot be written.
    """
    async with OrchestratorClient(api, api_key=api_key) as client:
        if not _exists(path):
            await _require_api(client)
        with open_run_folder(path, request, api=api) as folder:
            if folder.run.summary is not None and await _is_settled(client, folder, folder.run.summary):
                print_notice(f"{path} is complete: nothing to do")
                return folder.run.summary
            if folder.run.run_id is not None:
                print_notice(
                    f"going on with run {folder.run.run_id}: {folder.num_conversations:,} conversations are here"
                )
            with run_view() as view:
                return await bring_home(client, folder, request, view, give_up_after_s=give_up_after_s)


async def _is_settled(client: OrchestratorClient, folder: RunFolder, summary: RunSummary) -> bool:
    """Whether the folder holds all that its run will ever give; dead conversations may have been handed out again."""
    if not folder.is_complete or not summary.dead or folder.run.run_id is None:
        return folder.is_complete
    try:
        progress = await client.run(folder.run.run_id)
    except ApiError:
        return True
    return progress.state.is_over and progress.committed == summary.finished


def _exists(path: Path) -> bool:
    return path.exists()


async def _require_api(client: OrchestratorClient) -> None:
    """Before anything is created: a mistyped address should leave no trace."""
    try:
        await client.ready()
    except ApiError as error:
        if error.status is None:
            raise with_advice(error) from error


def print_summary(summary: RunSummary, folder: Path, *, as_json: bool = False) -> None:
    """The summary on stdout, and the errors of dead conversations on stderr."""
    dataset = folder / SHAREGPT_FILE
    if as_json:
        print(json.dumps({**summary.model_dump(mode="json"), "dataset": str(dataset)}))
    else:
        output_console().print(summary_table(summary, dataset))
    if summary.state is RunState.CANCELLED:
        print_notice(f"cancelled: {summary.cancelled:,} conversations were given up")
    for wrong in summary.realism.out_of_bounds.values() if summary.realism is not None else ():
        print_notice(f"out of bounds: {wrong}")
    console = message_console()
    for conversation in summary.dead_conversations[:_MAX_SHOWN_DEAD]:
        line = f"dead: {conversation.id} after {conversation.attempts} attempts: {conversation.error}"
        console.print(printable(line), style="red", markup=False, soft_wrap=True)
    if (more := len(summary.dead_conversations) - _MAX_SHOWN_DEAD) > 0:
        console.print(f"dead: {more:,} more", style="red")


def resume_command(folder: Path, argv: list[str] | None = None) -> str:
    """The command line to give again; the folder is added where it was left to its default, a key is left out."""
    arguments = _without_secret(sys.argv[1:] if argv is None else argv)
    names_folder = any(argument == "--out" or argument.startswith("--out=") for argument in arguments)
    return shlex.join(["platolm", *arguments, *([] if names_folder else ["--out", str(folder)])])


def _without_secret(arguments: list[str]) -> list[str]:
    kept, given = [], iter(arguments)
    for argument in given:
        if argument == _SECRET_OPTION:
            next(given, None)
        elif not argument.startswith(f"{_SECRET_OPTION}="):
            kept.append(argument)
    return kept
