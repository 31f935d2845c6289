"""From dialogues to training rows: `input_ids` and `labels`, with everything that was left out counted.

Ids and labels come from `platolm.dyadic.compose` alone. Two augmentations live here: a dialogue is cut before a turn
that is too long, and several dialogues are joined into one conversation so that every position of the context is
trained (the simulator's header says that the human may ask brand-new questions).
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import IGNORE_INDEX, Composed, DyadicProfile, Turn, compose, cut_after_last_label
from platolm.tokenizer import TextTokenizer
from training.data.dialogues import cut_before_long_turn as cut_before_long_turn
from training.data.dialogues import encode_turns as encode_turns


@dataclass
class RowSet:
    """Rows ready for a trainer, and the account of how they came about."""

    rows: list[Composed] = field(default_factory=list)
    num_all_masked: int = 0
    num_conversations: int = 0

    def extend(self, other: RowSet) -> None:
        """Add another set's rows and counts to this one."""
        self.rows.extend(other.rows)
        self.num_all_masked += other.num_all_masked
        self.num_conversations += other.num_conversations

    @property
    def num_tokens(self) -> int:
        return sum(len(row.input_ids) for row in self.rows)

    @property
    def num_labels(self) -> int:
        return sum(label != IGNORE_INDEX for row in self.rows for label in row.labels)


def join_dialogues(dialogues: Iterable[Sequence[Turn]], num_tokens: int) -> Iterator[list[Turn]]:
    """Join dialogues one after another into conversations of at least `num_tokens` content tokens.

    Only whole rounds are joined, so that roles go on alternating. The last conversation may be shorter.
    """
    joined: list[Turn] = []
    size = 0
    for dialogue in dialogues:
        rounds = dialogue[: len(dialogue) // 2 * 2]
        joined.extend(rounds)
        size += sum(len(turn.content_ids or ()) + _TURN_OVERHEAD for turn in rounds)
        if size >= num_tokens:
            yield joined
            joined, size = [], 0
    if joined:
        yield joined


_TURN_OVERHEAD = 4  # a name, a colon, bos and eos: close enough to plan a row's length


def augmented(
    dialogues: Sequence[Sequence[Turn]], *, join_share: float, num_tokens: int, rng: random.Random
) -> list[Sequence[Turn]]:
    """One pass over the dialogues in random order, a share of them joined up to about `num_tokens` a conversation."""
    order = list(dialogues)
    rng.shuffle(order)
    num_joined = round(len(order) * join_share)
    conversations = [*order[num_joined:], *join_dialogues(order[:num_joined], num_tokens)]
    rng.shuffle(conversations)
    return conversations


def build_rows(
    conversations: Iterable[Sequence[Turn]], profile: DyadicProfile, tokenizer: TextTokenizer, *, max_length: int
) -> RowSet:
    """Masked rows for one side, cut after the last label; all-masked rows are dropped and counted."""
    result = RowSet()
    for turns in conversations:
        result.num_conversations += 1
        row = cut_after_last_label(compose(turns, profile, tokenizer, max_length=max_length))
        if row.input_ids:
            result.rows.append(row)
        else:
            result.num_all_masked += 1
    return result


def build_both_sides(
    conversations: Iterable[Sequence[Turn]], profile: DyadicProfile, tokenizer: TextTokenizer, *, max_length: int
) -> RowSet:
    """Rows under one side's header with both sides' turns labelled: what the shared base is trained on."""
    sides = [replace(profile, target_role=role) for role in (USER, ASSISTANT)]
    result = RowSet()
    for turns in conversations:
        result.num_conversations += 1
        user, assistant = (compose(turns, side, tokenizer, max_length=max_length) for side in sides)
        labels = [b if a == IGNORE_INDEX else a for a, b in zip(user.labels, assistant.labels, strict=True)]
        row = cut_after_last_label(Composed(user.input_ids, labels))
        if row.input_ids:
            result.rows.append(row)
        else:
            result.num_all_masked += 1
    return result
