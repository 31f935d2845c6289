"""The test split: by the opening, so that dialogues that begin alike are on one side, whatever is added later."""

from __future__ import annotations

from enum import StrEnum

from platolm.conversation import Conversation
from platolm.opening import is_held_out

DEFAULT_SEED = 125


class Split(StrEnum):
    """Which file a dialogue goes to."""

    TRAIN = "train"
    TEST = "test"


def split_of(conversation: Conversation, *, test_share: float, seed: int) -> Split:
    """Its split. Another hash than training's own held-out split, which would find nothing left in the train file."""
    is_test = is_held_out(conversation, share=test_share, salt=f"export {seed}")
    return Split.TEST if is_test else Split.TRAIN
