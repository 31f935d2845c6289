"""`platolm clean`: dialogues of any form in, one clean file and its report out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from curation.clean.settings import CleanSettings, StageName, chosen_stages
from platolm.cli.console import EXIT_INTERRUPTED, message_console, print_notice, printable
from platolm.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from curation.clean.pipeline import OnProgress, Progress
    from curation.clean.report import CleanReport

CLEAN_EPILOG = """
**Examples**

- `platolm clean sharegpt.json --out clean.jsonl --report report.json`: the usual stages

- `platolm clean dumps/ more.jsonl.gz --out clean.jsonl --languages en`: folders and files, English alone

- `platolm clean chats.parquet --out clean.jsonl --pii --no-refusals`: with one stage more and one less

- `platolm clean sharegpt.json --out markdown.jsonl --only markdown --only furniture`: these stages and no other

- `platolm clean sharegpt.json --out rows.jsonl --max-length 2048 --tokenizer meta-llama/Llama-2-7b-hf`: long dialogues
  parted between turns

**Stages, in their order**: roles (one spelling of each), markdown (HTML of the assistant's turns), furniture (labels of
a web page in them), alternation (turns of one side joined, an answer before any question left out), language, refusals
(refusals, sentences about being a model, error messages: cut before the question), short, pii, exact_duplicates,
near_duplicates, split. What people wrote is changed by pii alone.

The same files and settings give the same bytes, with any number of processes. Stopped? Nothing is written before the
end: start again.
"""


_STAGES, _SETTINGS = "Stages", "Settings of the stages"


def _switch(stage: str, what: str) -> Any:
    """An option that turns a stage on or off."""
    return typer.Option(f"--{stage}/--no-{stage}", help=what, show_default=False, rich_help_panel=_STAGES)


def clean(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="IN...",
            help="Files or folders: ShareGPT (plain or HTML), OpenAI messages, OASST trees, WildChat-like records, our "
            "datasets; JSON, JSON lines, .gz, .zst, .parquet.",
            show_default=False,
        ),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="ShareGPT records to write, one a line.")],
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What each stage did. Default: OUT with .report.json.", show_default=False),
    ] = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            metavar="STAGE",
            help="Run this stage and no other. Give it again for more.",
            show_default=False,
            rich_help_panel=_STAGES,
        ),
    ] = None,
    roles: Annotated[bool, _switch("roles", "One spelling of each role.")] = True,
    markdown: Annotated[bool, _switch("markdown", "HTML of the assistant's turns to Markdown.")] = True,
    furniture: Annotated[bool, _switch("furniture", "Labels of a web page out of the assistant's turns.")] = True,
    alternation: Annotated[bool, _switch("alternation", "Join turns of one side, or drop.")] = True,
    language: Annotated[bool, _switch("language", "Tell the language, and keep --languages alone.")] = True,
    refusals: Annotated[bool, _switch("refusals", "Cut before refusals, boilerplate and error messages.")] = True,
    short: Annotated[bool, _switch("short", "Leave out what has too few rounds.")] = True,
    pii: Annotated[bool, _switch("pii", "Replace addresses and numbers; off by default.")] = False,
    exact_duplicates: Annotated[bool, _switch("exact-duplicates", "Leave out what repeats a dialogue.")] = True,
    near_duplicates: Annotated[bool, _switch("near-duplicates", "Leave out what nearly repeats one.")] = True,
    languages: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CODES",
            help="Keep these languages: en, or en,de. Default: all are kept.",
            show_default=False,
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    min_language_score: Annotated[
        float,
        typer.Option(min=0, max=1, metavar="P", help="How likely one of them has to be.", rich_help_panel=_SETTINGS),
    ] = 0.5,
    min_rounds: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="Fewer answered questions are too short.", rich_help_panel=_SETTINGS),
    ] = 1,
    similarity: Annotated[
        float,
        typer.Option(
            min=0,
            max=1,
            metavar="SHARE",
            help="Equal word shingles that make a near duplicate.",
            rich_help_panel=_SETTINGS,
        ),
    ] = 0.8,
    max_length: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Split what has more tokens. Needs --tokenizer.",
            show_default=False,
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    tokenizer: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            help="Model folder or hub name, to split by.",
            show_default=False,
            rich_help_panel=_SETTINGS,
        ),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORM",
            help="sharegpt, openai, wildchat or oasst, for every record. Default: told by each record's keys.",
            show_default=False,
        ),
    ] = None,
    processes: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Default: one for each core.", show_default=False)
    ] = None,
) -> None:
    """Clean dialogues: one form, Markdown, alternating turns, known language, no refusals, no duplicates.

    OUT holds ShareGPT records in the order of the input; the report says for each stage what came in, what went out and
    why, with examples.
    """
    from curation.clean.pipeline import clean as run_clean

    switches = {
        StageName.ROLES: roles,
        StageName.MARKDOWN: markdown,
        StageName.FURNITURE: furniture,
        StageName.ALTERNATION: alternation,
        StageName.LANGUAGE: language,
        StageName.REFUSALS: refusals,
        StageName.SHORT: short,
        StageName.EXACT_DUPLICATES: exact_duplicates,
        StageName.NEAR_DUPLICATES: near_duplicates,
    }
    also = [name for name, wanted in ((StageName.PII, pii), (StageName.SPLIT, max_length is not None)) if wanted]
    without = [name for name, on in switches.items() if not on]
    settings = CleanSettings(
        stages=chosen_stages(only=_stages(only or ()), without=without, also=also),
        languages=_codes(languages or ()),
        min_language_score=min_language_score,
        min_rounds=min_rounds,
        similarity=similarity,
        max_length=max_length,
        tokenizer=tokenizer,
    )
    with _stoppable(out), _progress() as on_progress:
        done = run_clean(
            paths,
            out,
            report or out.with_suffix(".report.json"),
            settings,
            form=_form(form),
            num_processes=processes,
            on_progress=on_progress,
        )
    console = message_console()
    console.print(report_table(done))
    written = f"{done.num_written:,} of {done.num_read:,} conversations are in {out}"
    console.print(written, markup=False, soft_wrap=True)


def report_table(report: CleanReport) -> Table:
    """What each stage did, for people."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE, pad_edge=False)
    for name in ("stage", "conversations out", "turns out", "changed", "dropped"):
        table.add_column(name, justify="left" if name in ("stage", "dropped") else "right", no_wrap=name != "dropped")
    for stage in report.stages:
        why = ", ".join(f"{count:,} {reason}" for reason, count in stage.dropped.most_common())
        table.add_row(
            stage.name,
            f"{stage.conversations_out:,}",
            f"{stage.turns_out:,}",
            f"{stage.changed:,}",
            Text(printable(why)),
        )
    return table


def _stages(names: Sequence[str]) -> list[StageName]:
    known = {stage.value: stage for stage in StageName}
    if unknown := [name for name in names if name.replace("-", "_") not in known]:
        raise InputError(f"--only {unknown[0]}: there is no such stage; say {', '.join(known)}")
    return [known[name.replace("-", "_")] for name in names]


def _codes(languages: Sequence[str]) -> tuple[str, ...]:
    codes = sorted({code.strip().lower() for given in languages for code in given.split(",") if code.strip()})
    if codes:
        from curation.clean.language import known_languages

        if unknown := sorted(set(codes) - known_languages()):
            raise InputError(f"--languages {','.join(unknown)}: no such language is known; say codes such as en,de,zh")
    return tuple(codes)


def _form(name: str | None) -> str | None:
    from curation.reading import Form

    if name is not None and name not in {form.value for form in Form}:
        raise InputError(f"--from {name}: there is no such form; say {', '.join(form.value for form in Form)}")
    return name


@contextmanager
def _stoppable(out: Path) -> Iterator[None]:
    """Ctrl-C ends the command with a line on what there is."""
    try:
        yield
    except KeyboardInterrupt:
        print_notice(f"stopped: {out} was not written; the same command begins anew")
        raise typer.Exit(EXIT_INTERRUPTED) from None


@contextmanager
def _progress() -> Iterator[OnProgress]:
    from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bar

    console = message_console()
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
    )  # fmt: skip
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("reading", total=None)

        def show(progress: Progress) -> None:
            bar.update(task, description=progress.doing, completed=progress.num_done, total=progress.num_total)

        yield show
