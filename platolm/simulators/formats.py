"""How chat models' own templates write turns: which control tokens, and what text stands between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from platolm.errors import TokenizerError
from platolm.text_tokenizer import CachingTokenizer


class PromptTokenizer(CachingTokenizer, Protocol):
    """What `platolm.simulators` asks of a tokenizer: also the ids of control tokens, by their spelling."""

    def id_of(self, token: str) -> int | None: ...


@dataclass(frozen=True)
class TurnFormat:
    """A turn is `begin` role [`after_role`] `gap` content `end` `after_end`; a prompt begins with `opens`.

    `opens`, `begin`, `after_role` and `end` are control tokens, put in by id; the rest is text. The text between two
    control tokens is one encode. A prompt ends in `begin` role [`after_role`], and the gap where `open_gap` is set:
    otherwise the model writes the gap itself. `trims`: the template strips each content.
    """

    name: str
    opens: str | None
    begin: str
    after_role: str | None
    gap: str
    end: str
    after_end: str = ""
    open_gap: bool = True
    trims: bool = False

    @property
    def control_tokens(self) -> tuple[str, ...]:
        """The spellings that must be in a tokenizer's vocabulary."""
        spellings = (self.opens, self.begin, self.after_role, self.end)
        return tuple(spelling for spelling in spellings if spelling is not None)


LLAMA3 = TurnFormat(
    name="llama3",
    opens="<|begin_of_text|>",
    begin="<|start_header_id|>",
    after_role="<|end_header_id|>",
    gap="\n\n",
    end="<|eot_id|>",
    trims=True,
)
CHATML = TurnFormat(
    name="chatml", opens=None, begin="<|im_start|>", after_role=None, gap="\n", end="<|im_end|>", after_end="\n"
)
FORMATS = (LLAMA3, CHATML)


def format_of(tokenizer: PromptTokenizer) -> TurnFormat:
    """The format whose control tokens a tokenizer has.

    Raises:
        TokenizerError: it has those of none.
    """
    for known in FORMATS:
        if has_tokens(tokenizer, known):
            return known
    names = " or ".join(known.name for known in FORMATS)
    raise TokenizerError(
        f"the tokenizer has no control tokens of a chat format that is known here ({names}): "
        "ask this model through a chat API, or give its profile a format of its own"
    )


def has_tokens(tokenizer: PromptTokenizer, turn_format: TurnFormat) -> bool:
    return all(tokenizer.id_of(spelling) is not None for spelling in turn_format.control_tokens)


def without_gap(turn_format: TurnFormat) -> TurnFormat:
    """The same, where the model writes the gap itself."""
    return replace(turn_format, open_gap=False)
