"""Let the demo pair talk, and count what a reader would notice: utterances without an end, repeats, same openings."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from platolm.dyadic import PLATOLM, SOCRATIC, DyadicProfile, Turn, prompt_ids
from platolm.errors import PlatoLMError
from platolm.opening import normalised
from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.models import load_model

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Generate = Callable[[Sequence[Sequence[int]]], list[list[int]]]
"""Prompts in, new ids out, an eos kept where the model wrote one."""


@dataclass
class Talk:
    """One simulated dialogue; `ended` says of each utterance whether it ended by itself."""

    turns: list[Turn] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)


@dataclass(frozen=True)
class Findings:
    """Shares are of all utterances of all dialogues, but for the first questions'."""

    num_dialogues: int
    num_utterances: int
    ended_by_role: dict[str, float]
    tokens_by_role: dict[str, float]
    empty: float
    repeated: float
    distinct_first_questions: float


def free_dialogues(
    models: Path, *, num_dialogues: int = 64, temperature: float = 0.7, max_new_tokens: int = 192, seed: int = 125
) -> list[Talk]:
    """Dialogues that the simulator in `models` opens by itself with the respondent there.

    Raises:
        TokenizerError: the folder holds no usable tokenizer.
    """
    import torch

    torch.manual_seed(seed)
    tokenizer = load_tokenizer(models / SOCRATIC.name)
    sides = [(profile, load_model(models / profile.name)) for profile in (SOCRATIC, PLATOLM)]
    speakers = [
        (profile, sampler(model, tokenizer, temperature=temperature, max_new_tokens=max_new_tokens))
        for profile, model in sides
    ]
    context = min(model.config.max_position_embeddings for _, model in sides)
    return simulate(speakers, tokenizer, num_dialogues=num_dialogues, context=context, max_new_tokens=max_new_tokens)


def simulate(
    speakers: Sequence[tuple[DyadicProfile, Generate]],
    tokenizer: HubTokenizer,
    *,
    num_dialogues: int,
    context: int,
    max_new_tokens: int,
) -> list[Talk]:
    """Dialogues side by side, speakers in turn, each until no full utterance fits into the context any more."""
    talks = [Talk() for _ in range(num_dialogues)]
    active = list(talks)
    while active:
        for profile, generate in speakers:
            prompts = [prompt_ids(talk.turns, profile, tokenizer) for talk in active]
            fits = [len(prompt) + max_new_tokens <= context for prompt in prompts]
            active = [talk for talk, fit in zip(active, fits, strict=True) if fit]
            prompts = [prompt for prompt, fit in zip(prompts, fits, strict=True) if fit]
            if not active:
                break
            for talk, ids in zip(active, generate(prompts), strict=True):
                content = [i for i in ids if i != tokenizer.eos_id]
                talk.turns.append(Turn(profile.target_role, tokenizer.decode(content), content))
                talk.ended.append(tokenizer.eos_id in ids)
    return talks


def findings_of(talks: Sequence[Talk]) -> Findings:
    """Count; a repeat is an utterance that the same side said before in the same dialogue, letter for letter."""
    turns = [turn for talk in talks for turn in talk.turns]
    roles = sorted({turn.role for turn in turns}, reverse=True)
    ended = [(turn.role, end) for talk in talks for turn, end in zip(talk.turns, talk.ended, strict=True)]
    num_repeats = sum(len(talk.turns) - len({(turn.role, turn.content) for turn in talk.turns}) for talk in talks)
    firsts = [normalised(talk.turns[0].content) for talk in talks if talk.turns]
    return Findings(
        num_dialogues=len(talks),
        num_utterances=len(turns),
        ended_by_role={role: _mean([end for r, end in ended if r == role]) for role in roles},
        tokens_by_role={role: _mean([len(t.content_ids or ()) for t in turns if t.role == role]) for role in roles},
        empty=_mean([not turn.content.strip() for turn in turns]),
        repeated=num_repeats / max(1, len(turns)),
        distinct_first_questions=len(set(firsts)) / max(1, len(firsts)),
    )


def sampler(
    model: PreTrainedModel, tokenizer: HubTokenizer, *, temperature: float, max_new_tokens: int, batch: int = 32
) -> Generate:
    """Sample from a model without top-p and top-k, a batch of prompts at a time."""
    import torch

    model.train(False)
    speaker: Any = model  # transformers' own annotation of `generate` refuses its models

    def generate_batch(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        width = max(len(prompt) for prompt in prompts)
        ids = torch.tensor([[tokenizer.eos_id] * (width - len(prompt)) + list(prompt) for prompt in prompts])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
        with torch.inference_mode():
            output = speaker.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=True,
                temperature=temperature,
                top_k=0,
                top_p=1.0,
                max_new_tokens=max_new_tokens,
                pad_token_id=model.config.pad_token_id,
            )
        return [_until_eos(row, tokenizer.eos_id) for row in output[:, width:].tolist()]

    def generate(prompts: Sequence[Sequence[int]]) -> list[list[int]]:
        return [ids for i in range(0, len(prompts), batch) for ids in generate_batch(prompts[i : i + batch])]

    return generate


def _until_eos(ids: list[int], eos_id: int) -> list[int]:
    return ids[: ids.index(eos_id) + 1] if eos_id in ids else ids


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def table_of(findings: Findings) -> Table:
    table = Table(title=f"{findings.num_dialogues} dialogues, {findings.num_utterances} utterances", show_header=False)
    for role, share in findings.ended_by_role.items():
        table.add_row(f"{role} utterances that end by themselves", f"{share:.1%}")
        table.add_row(f"{role} tokens an utterance", f"{findings.tokens_by_role[role]:.1f}")
    table.add_row("empty", f"{findings.empty:.1%}")
    table.add_row("repeated by the same side", f"{findings.repeated:.1%}")
    table.add_row("distinct first questions", f"{findings.distinct_first_questions:.1%}")
    return table


def main(
    models: Annotated[Path, typer.Option(help="Folder with socratic and platolm.")] = Path("models/demo"),
    num_dialogues: Annotated[int, typer.Option("-n", "--num-dialogues", help="Free dialogues to run.")] = 64,
    temperature: Annotated[float, typer.Option(help="Sampling temperature of both sides.")] = 0.7,
    max_new_tokens: Annotated[int, typer.Option(help="Longest utterance.")] = 192,
    show: Annotated[int, typer.Option(help="Print this many of the dialogues.")] = 0,
    seed: Annotated[int, typer.Option(help="Seed of the sampling.")] = 125,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")] = False,
) -> None:
    """Run free dialogues between the demo pair until the context is full, and count what ends, repeats or is empty.

    The simulator opens each dialogue by itself. Runs in this process, without a server; about five minutes on two
    cores.

        python -m training.simulate --show 5
    """
    try:
        talks = free_dialogues(
            models, num_dialogues=num_dialogues, temperature=temperature, max_new_tokens=max_new_tokens, seed=seed
        )
    except (PlatoLMError, OSError) as error:
        Console(stderr=True).print(str(error), style="red", markup=False)
        raise typer.Exit(1) from error
    findings = findings_of(talks)
    if as_json:
        typer.echo(json.dumps(asdict(findings), indent=2))
        return
    console = Console()
    for number, talk in enumerate(talks[:show], start=1):
        console.rule(f"dialogue {number}")
        for turn in talk.turns:
            console.print(f"{turn.role}: {turn.content}", markup=False, highlight=False)
    console.print(table_of(findings))


if __name__ == "__main__":
    typer.run(main)
