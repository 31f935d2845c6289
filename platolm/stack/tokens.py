"""Whether two models read the same token ids: conversations in flight hold the ids of the model before."""

from __future__ import annotations

import asyncio

from platolm.errors import InputError
from platolm.tokenizer import HubTokenizer, load_tokenizer

_PROBE = (
    "The quick brown fox, naïve café: 12,345.67 km/h?\n\n\tdef f(x): return x ** 2  # «так» 日本語 🫖 "
    "Wherever children's questions unexpectedly multiply, answering everything becomes impossible."
)


async def require_same_tokens(before: str, after: str) -> None:
    """See that a model may take over from another while conversations go on.

    Raises:
        InputError: its ids mean other tokens.
        TokenizerError: one of them has no usable tokenizer.
    """
    old, new = await asyncio.gather(asyncio.to_thread(load_tokenizer, before), asyncio.to_thread(load_tokenizer, after))
    if _signature(old) != _signature(new):
        raise InputError(
            f"{after} has another tokenizer than {before}, whose token ids the conversations in flight hold: "
            "stop the stack, and start it with the new model"
        )


def _signature(tokenizer: HubTokenizer) -> tuple[int, int, int, tuple[int, ...]]:
    """Two vocabularies of one size still cut this text differently."""
    return tokenizer.bos_id, tokenizer.eos_id, tokenizer.vocab_size, tuple(tokenizer.encode(_PROBE))
