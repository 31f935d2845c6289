"""Is the chessboard flipped? Each side against the other, the shared base and a 5-gram, on held-out dialogues.

Every model reads the same ids: user turns under the simulator's header, assistant turns under the respondent's.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from platolm.conversation import Conversation
from platolm.dyadic import PLATOLM, SOCRATIC, DyadicProfile, Turn, compose
from platolm.errors import PlatoLMError
from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.bootstrap import Interval, paired_difference
from training.data.dialogues import cut_before_long_turn, encode_turns
from training.models import load_model
from training.ngram import KneserNey
from training.recipes import DEMO_BASE, DEMO_PLATOLM, DEMO_SOCRATIC
from training.recipes.recipe import Recipe
from training.scoring import Target, bits_per_byte, model_nats, nats_per_token, ngram_nats, targets_of
from training.sources import Split, read_demo_dialogues

MODELS = ("socratic", "platolm", "base")
NGRAM = "5-gram"
_SIDES: tuple[tuple[DyadicProfile, Recipe], ...] = ((SOCRATIC, DEMO_SOCRATIC), (PLATOLM, DEMO_PLATOLM))


@dataclass(frozen=True)
class Column:
    """One role's turns: every model's loss on them, and how far the role's own model is ahead of each other one.

    `ahead` holds (own − other) in nats a token: below zero, the own model is better.
    """

    role: str
    owner: str
    num_dialogues: int
    num_tokens: int
    num_bytes: int
    nats_per_token: Mapping[str, float]
    bits_per_byte: Mapping[str, float]
    ahead: Mapping[str, Interval]

    @property
    def flipped(self) -> bool:
        """Whether the owner beats everything here, the interval excluding zero each time."""
        return all(interval.high < 0 for interval in self.ahead.values())


def evaluate(
    models: Path,
    splits: Mapping[Split, Sequence[Conversation]],
    *,
    long_turns: bool = False,
    report: Callable[[str], None] = lambda _: None,
) -> list[Column]:
    """One column for each role.

    Args:
        models: a folder with `socratic`, `platolm` and `base`.
        splits: the dialogues; the n-gram is trained on `TRAIN`, everything is measured on `HELD_OUT`.
        long_turns: measure turns as long as the base was trained on, not only as long as each side was.
    """
    tokenizer = load_tokenizer(models / "base")
    report("counting the 5-gram on the training split")
    ngram = _trained_ngram(splits[Split.TRAIN], tokenizer)
    encoded = [encode_turns(conversation, tokenizer) for conversation in splits[Split.HELD_OUT]]
    loaded = {name: load_model(models / name) for name in MODELS}
    columns = []
    for profile, recipe in _SIDES:
        limits = DEMO_BASE.data.turn_limits if long_turns else recipe.data.turn_limits
        dialogues = [cut_before_long_turn(turns, limits) for turns in encoded]
        targets = targets_of(dialogues, profile, tokenizer, context=loaded[profile.name].config.max_position_embeddings)
        nats = {}
        for name in MODELS:
            report(f"{name} on {len(targets)} dialogues' {profile.target_role} turns")
            nats[name] = model_nats(loaded[name], targets)
        nats[NGRAM] = ngram_nats(ngram, targets)
        columns.append(_column(profile, nats, targets))
    return columns


def _column(profile: DyadicProfile, nats: Mapping[str, Sequence[float]], targets: Sequence[Target]) -> Column:
    num_tokens = [target.num_tokens for target in targets]
    return Column(
        role=profile.target_role,
        owner=profile.name,
        num_dialogues=len(targets),
        num_tokens=sum(num_tokens),
        num_bytes=sum(target.num_bytes for target in targets),
        nats_per_token={name: nats_per_token(values, targets) for name, values in nats.items()},
        bits_per_byte={name: bits_per_byte(values, targets) for name, values in nats.items()},
        ahead={
            name: paired_difference(nats[profile.name], values, num_tokens)
            for name, values in nats.items()
            if name != profile.name
        },
    )


def _trained_ngram(conversations: Sequence[Conversation], tokenizer: HubTokenizer) -> KneserNey:
    """Both sides' turns under both headers, cut as for the base: the same text that the models saw."""
    rows = []
    for conversation in conversations:
        turns: list[Turn] = cut_before_long_turn(encode_turns(conversation, tokenizer), DEMO_BASE.data.turn_limits)
        rows.append(compose(turns, PLATOLM, tokenizer).input_ids)
    return KneserNey.trained(rows, order=5, vocab_size=tokenizer.vocab_size)


def table_of(columns: Sequence[Column]) -> Table:
    """Models down, roles across: nats a token, and bits a byte in brackets; each column's owner in bold."""
    table = Table(title="Held-out loss: nats a token (bits a byte)")
    table.add_column("model")
    for column in columns:
        table.add_column(f"{column.role} turns", justify="right")
    for name in (*MODELS, NGRAM):
        cells = [f"{column.nats_per_token[name]:.3f} ({column.bits_per_byte[name]:.3f})" for column in columns]
        table.add_row(
            name, *(f"[bold]{cell}[/bold]" if name == c.owner else cell for cell, c in zip(cells, columns, strict=True))
        )
    return table


def comparisons_of(columns: Sequence[Column]) -> Table:
    """Each owner against each other model, with the bootstrap interval."""
    table = Table(title="Own model minus the other, nats a token, 95 % interval over dialogues (below zero: ahead)")
    for title in ("turns", "own", "other", "difference", "interval"):
        table.add_column(title)
    for column in columns:
        for name, interval in column.ahead.items():
            table.add_row(
                column.role, column.owner, name, f"{interval.mean:+.4f}", f"[{interval.low:+.4f}, {interval.high:+.4f}]"
            )
    return table


def as_json(columns: Sequence[Column]) -> list[dict[str, Any]]:
    return [{**asdict(column), "flipped": column.flipped} for column in columns]


def main(
    data: Annotated[Path, typer.Option(help="Folder of the dialogue files, as for training.demo.")],
    models: Annotated[Path, typer.Option(help="Folder with socratic, platolm and base.")] = Path("models/demo"),
    long_turns: Annotated[
        bool, typer.Option("--long-turns", help="Also measure turns longer than either side was trained to speak.")
    ] = False,
    as_json_: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure both demo models and their base on held-out dialogues, on either role's turns.

    The dialogues are split by a hash of their opening, so the held-out ones are the same as in training and share no
    opening with it. Takes about three minutes on two cores.

        python -m training.evaluate --data FOLDER
    """
    progress = Console(stderr=True, quiet=as_json_)
    try:
        dialogues = read_demo_dialogues(data)
        columns = evaluate(
            models, dialogues.by_split, long_turns=long_turns, report=lambda text: progress.print(text, style="dim")
        )
    except (PlatoLMError, OSError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    if as_json_:
        typer.echo(json.dumps(as_json(columns), indent=2))
        return
    console = Console()
    console.print(table_of(columns), comparisons_of(columns))
    for column in columns:
        verdict = "beats" if column.flipped else "does NOT beat"
        console.print(f"{column.owner} {verdict} every other on {column.role} turns ({column.num_dialogues} dialogues)")


if __name__ == "__main__":
    typer.run(main)
