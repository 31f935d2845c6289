"""The commands of `platolm runs`, each with its examples."""

from __future__ import annotations

import typer

from platolm.cli.runs.control import cancel, pause, resume, retry_dead
from platolm.cli.runs.conversations import conversation, conversations, dead
from platolm.cli.runs.dataset import dataset
from platolm.cli.runs.follow import follow
from platolm.cli.runs.listing import list_runs, show
from platolm.cli.runs.submit import submit

runs_app = typer.Typer(
    name="runs",
    help="See and steer the runs of an orchestrator. A run may be named by the beginning of its id.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


def _examples(*lines: str) -> str:
    return "\n\n".join(["**Examples**", *(f"- {line}" for line in lines)])


runs_app.command(
    "list",
    epilog=_examples(
        "`platolm runs list`: every run, the newest first",
        "`platolm runs list --state paused --json`: the paused ones, for a script",
    ),
)(list_runs)
runs_app.command(
    epilog=_examples(
        "`platolm runs show run-4f2a`: how far it is, and why it pauses if it does",
        "`platolm runs show 4f2a --spec > run.yaml`: what it was asked for, as a spec file",
    )
)(show)
runs_app.command(
    epilog=_examples(
        "`platolm runs submit run.yaml`: begin a run and leave it to the orchestrator; prints its id",
        "`platolm runs submit run.yaml --seeds other.jsonl -n 500 --key monday`: given again, it is not begun twice",
        "`platolm runs follow $(platolm runs submit run.yaml)`: begin it and watch it",
    )
)(submit)
runs_app.command(
    epilog=_examples(
        "`platolm runs follow run-4f2a`: dialogues and rates until the run is over; Ctrl-C only stops watching"
    )
)(follow)
runs_app.command(
    epilog=_examples("`platolm runs pause run-4f2a`: its utterances in flight are finished, then it waits for `resume`")
)(pause)
runs_app.command(
    epilog=_examples(
        "`platolm runs resume run-4f2a`: every conversation goes on at its last turn",
        "`platolm runs resume run-4f2a --budget 20`: one that spent its budget, which is 20 in all now",
    )
)(resume)
runs_app.command(
    epilog=_examples(
        "`platolm runs cancel run-4f2a`: asks first; what is finished stays in the dataset",
        "`platolm runs cancel run-4f2a --yes`: without asking",
    )
)(cancel)
runs_app.command(
    "retry-dead",
    epilog=_examples("`platolm runs retry-dead run-4f2a`: when the cause is gone; `platolm runs dead` names it"),
)(retry_dead)
runs_app.command(
    epilog=_examples(
        "`platolm runs conversations run-4f2a`: the first fifty",
        "`platolm runs conversations run-4f2a --state in_flight`: those that a worker holds now",
        "`platolm runs conversations run-4f2a --limit 1000 --json`: for a script",
    )
)(conversations)
runs_app.command(
    epilog=_examples("`platolm runs conversation run-4f2a9c01d3e7-00000012`: its turns so far, whatever its state")
)(conversation)
runs_app.command(epilog=_examples("`platolm runs dead run-4f2a`: what failed for good, and why"))(dead)
runs_app.command(
    epilog=_examples(
        "`platolm runs dataset run-4f2a`: what is committed so far, as run-4f2a9c01d3e7.sharegpt.jsonl",
        "`platolm runs dataset run-4f2a --format openai --out messages.jsonl`",
        "`platolm runs dataset run-4f2a --format parquet --out records.parquet`",
    )
)(dataset)
