"""Whether seeds fit into a context: by their length in bytes where that proves it, by their tokens otherwise."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from platolm.conversation import SYSTEM
from platolm.dyadic import DyadicProfile, Turn, prompt_ids
from platolm.errors import TokenizerError
from platolm.speaker_profile import SpeakerProfile
from platolm.tokenizer import HubTokenizer

_BATCH_CHARS = 4_000_000
_LOSSLESS_SPLITS = frozenset({"ByteLevel", "Split", "Digits"})
"""Pre-tokenizers that cut a text and change nothing of it."""


@dataclass(frozen=True)
class TokenBounds:
    """What a text's length says of its number of tokens.

    `bytes_bound`: a text never has more tokens than bytes. `longest` is the length of the longest vocabulary entry,
    in bytes where `bytes_bound` holds, else in characters: no token stands for more.
    """

    bytes_bound: bool
    longest: int

    def at_most(self, texts: Sequence[str]) -> int | None:
        """Tokens that the texts have at most; None where their length does not tell."""
        return sum(len(text.encode()) for text in texts) if self.bytes_bound else None

    def at_least(self, texts: Sequence[str]) -> int:
        """Tokens that the texts have at least."""
        return sum(-(-len(text) // self.longest) for text in texts)


def token_bounds(folder: Path) -> TokenBounds:
    """The bounds that hold for a folder's `tokenizer.json`.

    Raises:
        TokenizerError: there is none, or it cannot be read.
    """
    path = folder / "tokenizer.json"
    try:
        fast = json.loads(path.read_text(encoding="utf-8"))
        entries = [entry if isinstance(entry, str) else entry[0] for entry in fast["model"]["vocab"]]
        entries += [token["content"] for token in fast.get("added_tokens") or []]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TokenizerError(f"{path} cannot be read: {error}") from error
    return TokenBounds(_is_byte_level(fast), max(map(len, entries), default=1) or 1)


def _is_byte_level(fast: dict[str, Any]) -> bool:
    """Whether a tokenizer merges the bytes of its text and nothing else: then no token holds less than a byte."""
    model = fast["model"]
    affixes = [model.get(name) for name in ("continuing_subword_prefix", "end_of_word_suffix")]
    splits = fast.get("pre_tokenizer") or {}
    parts: list[dict[str, Any]] = splits.get("pretokenizers", [splits])
    byte_level = [part for part in parts if part.get("type") == "ByteLevel"]
    return (
        model.get("type") == "BPE"
        and not any(affixes)
        and fast.get("normalizer") is None
        and all(part.get("type") in _LOSSLESS_SPLITS for part in parts)
        and len(byte_level) == 1
        and not byte_level[0].get("add_prefix_space")
    )


@dataclass(frozen=True)
class Prompt:
    """A prompt before it is tokenised: the texts in it, each one encode, and the control tokens between them."""

    texts: tuple[str, ...]
    num_control: int


class PromptTexts:
    """Stands in for a tokenizer and keeps what it is asked to encode, so that many prompts are tokenised together."""

    bos_id = eos_id = 0

    def __init__(self) -> None:
        self._texts: list[str] = []

    def encode(self, text: str) -> list[int]:
        self._texts.append(text)
        return []

    def decode(self, ids: Sequence[int]) -> str:
        raise NotImplementedError("prompts are only written")

    def prompt(self, profile: DyadicProfile, system_prompt: str | None, turns: Sequence[Turn]) -> Prompt:
        """What the profile's side is given after these turns."""
        system = [Turn(SYSTEM, system_prompt)] if system_prompt else []
        self._texts = []
        num_control = len(prompt_ids([*system, *turns], profile, self))
        return Prompt(tuple(self._texts), num_control)


def dyadic_of(profile: SpeakerProfile) -> DyadicProfile | None:
    """The dyadic format that a profile prompts in, whose texts can be measured without a tokenizer; None: another."""
    dyadic = getattr(profile, "dyadic", None)
    return dyadic if isinstance(dyadic, DyadicProfile) else None


def which_fit(
    prompts: Iterator[Prompt], load: Callable[[], HubTokenizer], bounds: TokenBounds, room: int
) -> list[bool]:
    """For each prompt whether it has at most `room` tokens. The tokenizer is only loaded where lengths do not tell.

    A prompt that is too long by any tokenization is never tokenised; the others are, together, in bounded batches.
    """
    fits: list[bool] = []
    unknown: list[tuple[int, Prompt]] = []
    size = 0

    def settle() -> None:
        for (position, _), num_tokens in zip(unknown, _lengths([prompt for _, prompt in unknown], load()), strict=True):
            fits[position] = num_tokens <= room
        unknown.clear()

    for prompt in prompts:
        known = _by_length(prompt, bounds, room)
        fits.append(known is True)
        if known is None:
            unknown.append((len(fits) - 1, prompt))
            size += sum(map(len, prompt.texts))
            if size >= _BATCH_CHARS:
                settle()
                size = 0
    if unknown:
        settle()
    return fits


def _by_length(prompt: Prompt, bounds: TokenBounds, room: int) -> bool | None:
    if prompt.num_control + bounds.at_least(prompt.texts) > room:
        return False
    at_most = bounds.at_most(prompt.texts)
    return True if at_most is not None and prompt.num_control + at_most <= room else None


def _lengths(prompts: Sequence[Prompt], tokenizer: HubTokenizer) -> list[int]:
    """Tokens of each prompt; a text that stands in many (the header) is tokenised once."""
    distinct = list({text: None for prompt in prompts for text in prompt.texts})
    num_tokens = {text: len(ids) for text, ids in zip(distinct, tokenizer.encode_many(distinct), strict=True)}
    return [prompt.num_control + sum(num_tokens[text] for text in prompt.texts) for prompt in prompts]
