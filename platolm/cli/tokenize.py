"""`platolm tokenize`: conversations to ids and labels."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from platolm.cli.console import message_console, print_bad_lines
from platolm.dyadic import DEFAULT_MAX_LENGTH, PROFILES
from platolm.tokenizer import load_tokenizer
from platolm.tokenizing import RowCounts, tokenize_file

TOKENIZE_EPILOG = """
**Examples**

- `platolm tokenize --profile socratic --tokenizer models/demo/socratic sharegpt.jsonl --out rows.jsonl`

- `platolm tokenize --profile platolm --tokenizer meta-llama/Llama-2-7b-hf sharegpt.json.gz --out rows.jsonl`

A label is the token's own id where the profile learns (socratic: what the user says, platolm: what the assistant says;
begin and end of the utterance included), and -100 elsewhere.
"""


class ProfileName(StrEnum):
    """Names of `platolm.dyadic.PROFILES`."""

    SOCRATIC = "socratic"
    PLATOLM = "platolm"


def tokenize(
    source: Annotated[
        Path, typer.Argument(metavar="IN", help="ShareGPT or OpenAI records: JSON lines or a JSON list, .gz too.")
    ],
    profile: Annotated[ProfileName, typer.Option(help="Whose utterances are learnt.")],
    tokenizer: Annotated[str, typer.Option(metavar="DIR", help="Model folder with a tokenizer.json, or a hub name.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write: one row a line.")],
    max_length: Annotated[
        int, typer.Option(min=1, metavar="N", help="Cut a row after so many tokens.")
    ] = DEFAULT_MAX_LENGTH,
    bos_in_loss: Annotated[
        bool, typer.Option("--bos-in-loss/--no-bos-in-loss", help="Whether an utterance's begin token is learnt.")
    ] = True,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="Leave out records that are no conversation.")] = False,
) -> None:
    """Turn conversations into the ids and labels that training sees.

    One row `{"id", "input_ids", "labels"}` for each conversation, in order. A row without any label is written too, and
    counted: training leaves it out.
    """
    loaded = load_tokenizer(tokenizer)
    with _progress() as advance:
        counts = tokenize_file(
            source,
            out,
            PROFILES[profile],
            loaded,
            max_length=max_length,
            bos_in_loss=bos_in_loss,
            skip_bad=skip_bad,
            on_record=advance,
        )
    _print_counts(counts, out)


@contextmanager
def _progress() -> Iterator[Callable[[], None]]:
    console = message_console()
    columns = (SpinnerColumn(), TextColumn("{task.description}"), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("records", total=None)
        yield lambda: progress.advance(task)


def _print_counts(counts: RowCounts, out: Path) -> None:
    print_bad_lines(counts.bad_lines)
    parts = [
        f"{counts.rows:,} rows",
        f"{counts.tokens:,} tokens",
        f"{counts.labelled_tokens:,} labelled",
        f"{counts.all_masked:,} rows all masked",
    ]
    if counts.bad_lines:
        parts.append(f"{len(counts.bad_lines):,} records left out")
    message_console().print(f"{out}: {', '.join(parts)}", markup=False, soft_wrap=True)
