"""Held-out loss of one side before and after its training, on the turns that it is to speak."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from platolm.conversation import Conversation, from_record
from platolm.dyadic import PROFILES
from platolm.errors import BadLine, InputError
from platolm.jsonlines import read_json_records
from platolm.tokenizer import load_tokenizer
from training.bootstrap import Interval, paired_difference
from training.data.dialogues import cut_before_long_turn, encode_turns
from training.loop.recipe import Test
from training.models import load_model
from training.recipes.recipe import Recipe
from training.scoring import Target, model_nats, nats_per_token, targets_of

if TYPE_CHECKING:
    from transformers import LlamaForCausalLM

Say = Callable[[str], None]


@dataclass(frozen=True)
class SideLoss:
    """One side on the held-out dialogues: nats a token, each token counting alike.

    `difference` is after − before, below zero: better; its interval is of a paired bootstrap over dialogues.
    """

    side: str
    role: str
    base: str
    num_dialogues: int
    num_tokens: int
    before: float
    after: float
    difference: Interval

    @property
    def verdict(self) -> str:
        """In words."""
        if not self.difference.excludes_zero:
            return "no difference that the interval would show"
        return "better than before" if self.difference.high < 0 else "worse than before"


def read_test(path: Path, test: Test) -> list[Conversation]:
    """The held-out dialogues, at most `test.max_dialogues` of them, drawn at random and the same each time."""
    records = [record for _, record in read_json_records(path)]
    conversations = [from_record(record) for record in records if not isinstance(record, BadLine)]
    if len(conversations) <= test.max_dialogues:
        return conversations
    return random.Random(test.seed).sample(conversations, test.max_dialogues)


def measure_side(recipe: Recipe, trained: Path, dialogues: Sequence[Conversation], say: Say) -> SideLoss:
    """The recipe's base and the model that was trained from it, one after the other, on the same ids.

    A dialogue counts up to its first turn over `data.turn_limits`, and up to the turns that fit into the context.

    Raises:
        InputError: no dialogue has a turn of the side within these limits, or a model cannot be read.
    """
    profile = PROFILES[recipe.side]
    tokenizer = load_tokenizer(trained)
    limits = {str(role): limit for role, limit in recipe.data.turn_limits.items()}
    cut = (cut_before_long_turn(encode_turns(dialogue, tokenizer), limits) for dialogue in dialogues)
    targets = targets_of(cut, profile, tokenizer, context=recipe.data.max_length)
    if not targets:
        raise InputError(f"no held-out dialogue has a turn that {profile.name} could be measured on: give more data")
    nats = []
    for source in (recipe.model.path, str(trained)):
        say(f"{source} on the {profile.target_role} turns of {len(targets):,} dialogues")
        nats.append(_nats(source, targets))
    before, after = nats
    return SideLoss(
        side=profile.name,
        role=profile.target_role,
        base=recipe.model.path,
        num_dialogues=len(targets),
        num_tokens=sum(target.num_tokens for target in targets),
        before=nats_per_token(before, targets),
        after=nats_per_token(after, targets),
        difference=paired_difference(after, before, [target.num_tokens for target in targets]),
    )


def _nats(source: str, targets: Sequence[Target]) -> list[float]:
    """Of one model, which is gone again afterwards."""
    import torch
    from torch.nn import Module

    on_gpu = torch.cuda.is_available()
    model = cast("LlamaForCausalLM", load_model(source, dtype="bfloat16" if on_gpu else "float32"))
    if on_gpu:
        Module.cuda(model)
    with torch.device(model.device):  # where the scoring puts its tensors
        return model_nats(model, targets)
