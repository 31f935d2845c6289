"""Loss of a model, or of the n-gram, on one side's turns of held-out dialogues, dialogue by dialogue."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from platolm.dyadic import IGNORE_INDEX, Composed, DyadicProfile, Turn, compose
from platolm.tokenizer import TextTokenizer
from training.ngram import KneserNey

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Target:
    """One dialogue with one side's turns labelled (content and eos); `num_bytes` is their content in UTF-8."""

    row: Composed
    num_tokens: int
    num_bytes: int


def targets_of(
    dialogues: Iterable[Sequence[Turn]], profile: DyadicProfile, tokenizer: TextTokenizer, *, context: int
) -> list[Target]:
    """Every dialogue that has a turn of the profile's role, cut to the whole turns that fit into the context."""
    targets = []
    for dialogue in dialogues:
        turns = _fitting(dialogue, profile, tokenizer, context)
        row = compose(turns, profile, tokenizer, bos_in_loss=False)
        if row.has_loss:
            num_tokens = sum(label != IGNORE_INDEX for label in row.labels)
            num_bytes = sum(len(t.content.encode()) for t in turns if t.role == profile.target_role)
            targets.append(Target(row, num_tokens, num_bytes))
    return targets


def model_nats(
    model: PreTrainedModel, targets: Sequence[Target], report: Callable[[int], None] = lambda _: None
) -> list[float]:
    """−log P of each dialogue's labels, summed, in nats."""
    import torch
    from torch.nn.functional import cross_entropy

    model.train(False)
    result = []
    for done, target in enumerate(targets, start=1):
        ids, labels = torch.tensor([target.row.input_ids]), torch.tensor(target.row.labels)
        with torch.inference_mode():
            logits = model(input_ids=ids).logits[0, :-1].float()
        result.append(float(cross_entropy(logits, labels[1:], ignore_index=IGNORE_INDEX, reduction="sum")))
        report(done)
    return result


def ngram_nats(ngram: KneserNey, targets: Sequence[Target]) -> list[float]:
    """The same for the n-gram, which sees its few tokens of context within the row."""
    return [
        sum(ngram.nats(t.row.input_ids, i) for i, label in enumerate(t.row.labels) if label != IGNORE_INDEX)
        for t in targets
    ]


def nats_per_token(nats: Sequence[float], targets: Sequence[Target]) -> float:
    return sum(nats) / sum(target.num_tokens for target in targets)


def bits_per_byte(nats: Sequence[float], targets: Sequence[Target]) -> float:
    """Comparable between tokenizers: total nats / ln 2 / bytes of content."""
    return sum(nats) / math.log(2) / sum(target.num_bytes for target in targets)


def _fitting(
    dialogue: Sequence[Turn], profile: DyadicProfile, tokenizer: TextTokenizer, context: int
) -> Sequence[Turn]:
    while dialogue and len(compose(dialogue, profile, tokenizer).input_ids) > context:
        dialogue = dialogue[:-1]
    return dialogue
