"""What a conversation asks of either side's engines: utterances, tokens to generate, tokens to read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from platolm.conversation import ASSISTANT, USER
from platolm.endings import FinishReason
from platolm.errors import InputError
from platolm.reservation import held_tokens

ROLES = (USER, ASSISTANT)


@dataclass(frozen=True)
class SideLoad:
    """One side's of one conversation, as means. `reserved` is what it keeps of a KV cache, in tokens."""

    utterances: float
    generated: float
    prompt: float
    prefilled: float
    reserved: float

    @property
    def context(self) -> float:
        """Tokens that an utterance holds on average while it is made."""
        return (self.prompt + self.generated / 2) / self.utterances

    def per_utterance(self, tokens: float) -> float:
        return tokens / self.utterances


@dataclass(frozen=True)
class Dialogue:
    """A conversation in round numbers. An utterance's tokens count its end.

    `opening_tokens` stand at the head of every prompt, `framing_tokens` around every utterance in one. `hit_share` is
    the share of what a prefix cache could give that it gives: 1 where every conversation stays on its replica and fits.
    """

    rounds: float
    user_tokens: float
    assistant_tokens: float
    opening_tokens: float = 32.0
    framing_tokens: float = 4.0
    hit_share: float = 1.0

    def loads(self, block_tokens: Mapping[str, int]) -> dict[str, SideLoad]:
        """By role, at engines with these blocks. Rounds in between two whole numbers are so many of the one and of the
        other.
        """
        low = math.floor(self.rounds)
        share = self.rounds - low
        if not share:
            return self._whole(low, block_tokens)
        if not low:
            raise InputError("a conversation has at least one round")
        lower, upper = (self._whole(rounds, block_tokens) for rounds in (low, low + 1))
        return {role: _between(lower[role], upper[role], share) for role in ROLES}

    def _whole(self, rounds: int, block_tokens: Mapping[str, int]) -> dict[str, SideLoad]:
        return {role: self._load(role, rounds, block_tokens[role]) for role in ROLES}

    def _load(self, role: str, rounds: int, block_tokens: int) -> SideLoad:
        own, other = self.user_tokens, self.assistant_tokens
        if role == ASSISTANT:
            own, other = other, own
        both = own + other + 2 * self.framing_tokens
        first = self.opening_tokens + (other + self.framing_tokens if role == ASSISTANT else 0.0)
        prompts = [first + number * both for number in range(rounds)]
        return side_load([(prompt, own) for prompt in prompts], block_tokens, self.hit_share, are_means=True)


def side_load(
    requests: Iterable[tuple[float, float]], block_tokens: int, hit_share: float = 1.0, *, are_means: bool = False
) -> SideLoad:
    """Of one conversation's requests to one side in order, each its prompt's and its utterance's tokens.

    An engine has computed all but the last token it said, and keeps whole blocks: the next prompt finds
    floor((prompt + utterance - 1) / block) · block tokens. Of lengths that are means over many conversations, half a
    block is lost on average.
    """
    listed = list(requests)
    if not listed:
        raise InputError("a conversation without an utterance asks nothing")
    prompt = sum(tokens for tokens, _ in listed)
    generated = sum(tokens for _, tokens in listed)
    attainable = sum(_kept(before + said - 1, block_tokens, are_means=are_means) for before, said in listed[:-1])
    sizes = [before + said for before, said in listed]
    reserved = held_tokens(sum(sizes) / len(sizes))
    return SideLoad(len(listed), generated, prompt, prompt - hit_share * attainable, reserved)


def measured_loads(records: Iterable[Mapping[str, Any]], block_tokens: Mapping[str, int]) -> dict[str, SideLoad]:
    """Means by role over a dataset's conversations, from what their engines counted.

    Raises:
        InputError: none of them has an utterance of either side.
    """
    loads: dict[str, list[SideLoad]] = {role: [] for role in ROLES}
    for record in records:
        for role in ROLES:
            requests = [
                _request(turn) for turn in record["turns"] if turn["role"] == role and turn["num_prompt_tokens"]
            ]
            if requests:
                loads[role].append(side_load(requests, block_tokens[role]))
    if not all(loads.values()):
        raise InputError("the dataset has no conversation that engines of both sides took part in")
    return {role: _mean(of_role) for role, of_role in loads.items()}


def _request(turn: Mapping[str, Any]) -> tuple[float, float]:
    """An utterance that ended by itself has an end token beside its text."""
    return turn["num_prompt_tokens"], turn["num_tokens"] + int(turn["finish_reason"] == FinishReason.STOP)


def _kept(computed: float, block_tokens: int, *, are_means: bool) -> float:
    if are_means:
        return max(0.0, computed - (block_tokens - 1) / 2)
    return computed // block_tokens * block_tokens


def _mean(loads: list[SideLoad]) -> SideLoad:
    def mean(values: Iterable[float]) -> float:
        return sum(values) / len(loads)

    return SideLoad(
        mean(load.utterances for load in loads),
        mean(load.generated for load in loads),
        mean(load.prompt for load in loads),
        mean(load.prefilled for load in loads),
        mean(load.reserved for load in loads),
    )


def _between(low: SideLoad, high: SideLoad, share: float) -> SideLoad:
    def at(first: float, second: float) -> float:
        return first + share * (second - first)

    return SideLoad(
        at(low.utterances, high.utterances),
        at(low.generated, high.generated),
        at(low.prompt, high.prompt),
        at(low.prefilled, high.prefilled),
        at(low.reserved, high.reserved),
    )
