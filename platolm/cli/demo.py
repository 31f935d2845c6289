"""`platolm demo`: the whole stack with the small models, one run, three dialogues to read."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Coroutine
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from platolm.cli.console import EXIT_FAILURE, EXIT_INTERRUPTED, message_console, output_console, print_notice
from platolm.cli.dialogue import dialogue_panel
from platolm.cli.run import build_request, print_summary, produce, resume_command
from platolm.cli.up import addresses, dashboard_url, running_stack, settings_from, until_interrupted
from platolm.conversation import from_sharegpt
from platolm.dataset import SHAREGPT_FILE, Record
from platolm.mirror import DEFAULT_GIVE_UP_AFTER_S
from platolm.sampling import Sampling
from platolm.seeds import read_seeds
from platolm.spec import Endings, RunRequest, SeedMode
from platolm.stack.settings import HOST, LocalStackSettings
from platolm.summary import RunSummary

_SHOWN_DIALOGUES = 3
_MIN_SHOWN_ROUNDS = 2
_DEMO_CONVERSATIONS = 64
_DEMO_CONTEXT_TOKENS = 1024
_DEMO_MAX_TURNS = 6
_DEMO_MAX_TOKENS = 128

DEMO_EPILOG = """
**Examples**

- `platolm demo`: the simulator opens every dialogue by itself

- `platolm demo --seeds platolm/openings.jsonl`: the dialogues begin with given questions

- `platolm demo --keep`: the servers stay up afterwards, for the openai SDK or `platolm run`, until Ctrl-C

- `platolm demo --shared-engine`: one engine for both sides, which are LoRA adapters of one base

Ports, models, folders and Redis are those of `platolm up`, set by its environment variables `PLATOLM_UP_*`.
"""

ResultT = TypeVar("ResultT")


def demo(
    conversations: Annotated[
        int, typer.Option("--conversations", "-n", min=1, metavar="N", help="How many.")
    ] = _DEMO_CONVERSATIONS,
    seeds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Begin with the questions of this file (see `platolm run`).")
    ] = None,
    max_turns: Annotated[
        int, typer.Option(min=2, metavar="N", help="At most so many utterances of both sides together.")
    ] = _DEMO_MAX_TURNS,
    seed: Annotated[int, typer.Option(min=0, metavar="N", help="Random seed of the run.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Folder for the dataset. Default: runs/demo-TIME.", show_default=False),
    ] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the stack running until Ctrl-C.")] = False,
    shared_engine: Annotated[
        bool | None, typer.Option("--shared-engine", help="One engine for both sides, as in `platolm up`.")
    ] = None,
) -> None:
    """See it work on this machine: start everything with the small models, make dialogues, show three.

    Needs neither a GPU nor a configuration; starting takes about a minute.
    """
    request = build_request(
        read_seeds(seeds, SeedMode.QUESTION).seeds if seeds else [],
        seed_mode=SeedMode.QUESTION if seeds else SeedMode.FREE,
        conversations=conversations,
        seed=seed,
        sampling=Sampling(max_tokens=_DEMO_MAX_TOKENS),
        endings=Endings(context_tokens=_DEMO_CONTEXT_TOKENS, max_turns=max_turns),
    )
    folder = out or Path("runs") / time.strftime("demo-%Y%m%d-%H%M%S")
    summaries: list[RunSummary] = []
    settings = settings_from(shared_engine=shared_engine)
    asyncio.run(until_interrupted(_demonstrate(settings, request, folder, summaries, keep=keep)))
    if not summaries:
        print_notice(f"stopped; to go on: {resume_command(folder)}")
        raise typer.Exit(EXIT_INTERRUPTED)
    if not summaries[0].is_whole:
        raise typer.Exit(EXIT_FAILURE)


async def _demonstrate(
    settings: LocalStackSettings, request: RunRequest, folder: Path, summaries: list[RunSummary], *, keep: bool
) -> None:
    """Start the stack, have the run made, show it; the summary is left in `summaries` once there is one."""
    console = message_console()
    async with running_stack(settings, console) as stack:
        api = f"http://{HOST}:{settings.api_port}"
        console.print(f"Watch it in a browser: {dashboard_url(settings)}", markup=False, soft_wrap=True)
        run = produce(request, folder, api=api, give_up_after_s=DEFAULT_GIVE_UP_AFTER_S)
        summary = await _unless_ended(stack.watch(), run)
        summaries.append(summary)
        _print_dialogues(folder)
        print_summary(summary, folder)
        if keep:
            console.print(addresses(settings), markup=False, soft_wrap=True)
            await stack.watch()


async def _unless_ended(guard: Coroutine[Any, Any, object], work: Coroutine[Any, Any, ResultT]) -> ResultT:
    """The result of `work`; should `guard` end first, its error."""
    guard_task, work_task = asyncio.ensure_future(guard), asyncio.ensure_future(work)
    try:
        await asyncio.wait({guard_task, work_task}, return_when=asyncio.FIRST_COMPLETED)
        if not work_task.done():
            guard_task.result()
        return await work_task
    finally:
        for task in (guard_task, work_task):
            task.cancel()
        await asyncio.gather(guard_task, work_task, return_exceptions=True)


def _print_dialogues(folder: Path) -> None:
    """The first few dialogues of a dataset that have more than one round."""
    console = output_console()
    with (folder / SHAREGPT_FILE).open(encoding="utf-8") as file:
        records: list[Record] = list(islice(map(json.loads, file), _DEMO_CONVERSATIONS))
    longer = [record for record in records if record["num_rounds"] >= _MIN_SHOWN_ROUNDS]
    for record in (longer or records)[:_SHOWN_DIALOGUES]:
        console.print(
            dialogue_panel(
                from_sharegpt(record).messages,
                title=f"conversation {record['index']}",
                subtitle=f"{record['num_rounds']} rounds · {record['termination_reason']}",
            )
        )
