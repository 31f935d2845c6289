"""The order in which dialogues are written down, and which of them are joined into one conversation."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import Turn
from training.data.dialogues import Dialogue
from training.data.segments import Frame


def arranged(
    dialogues: Sequence[Dialogue], frame: Frame, *, max_length: int, join_share: float, arrangements: int, seed: str
) -> Iterator[Dialogue]:
    """Every dialogue `arrangements` times, each time in another order, a share of them joined.

    Joining trains every position of the context where most dialogues are short; the simulator's header says that the
    human may ask brand-new questions. One arrangement without joins keeps the order. The same for the same `seed`.
    """
    if arrangements == 1 and not join_share:
        yield from dialogues
        return
    rng = random.Random(seed)
    for _ in range(arrangements):
        order = list(dialogues)
        rng.shuffle(order)
        num_joined = round(len(order) * join_share)
        conversations = [*order[num_joined:], *joined(order[:num_joined], frame, max_length)]
        rng.shuffle(conversations)
        yield from conversations


def joined(dialogues: Iterable[Dialogue], frame: Frame, max_length: int) -> Iterator[Dialogue]:
    """Dialogues one after another as conversations of up to `max_length` tokens; no turn is lost.

    Roles go on alternating: a dialogue is joined only to one that ends with the assistant, and only if it begins with
    the user. One with a system message stays alone, for the message is about that dialogue.
    """
    together: list[Turn] = []
    length = 0
    for dialogue in dialogues:
        if dialogue.system or dialogue.spoken[0].role != USER:
            yield dialogue
            continue
        size = sum(map(frame.size, dialogue.spoken))
        if together and (together[-1].role != ASSISTANT or length + size > max_length):
            yield Dialogue(together)
            together = []
        if not together:
            length = frame.openings[USER] - frame.names[USER]
        together = [*together, *dialogue.spoken]
        length += size
    if together:
        yield Dialogue(together)
