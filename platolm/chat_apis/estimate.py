"""What a run is likely to cost, before it starts, and what that rests on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from platolm.chat_apis.answers import estimated_tokens
from platolm.chat_apis.prices import Prices, Usage, money
from platolm.conversation import ASSISTANT, USER
from platolm.seed_modes import SeedMode
from platolm.spec import RunSpec, Seed, given_utterances, speaker_profile, told_of

TYPICAL_TOKENS = 200
"""Of an utterance: the mean of both sides in the paper's own data is 203."""


@dataclass(frozen=True)
class CostEstimate:
    """In billionths of the prices' currency: with utterances of a typical length, and the least and the most that it is
    with some half and some twice as long."""

    low_nanos: int
    likely_nanos: int
    high_nanos: int
    assumptions: tuple[str, ...]

    def __str__(self) -> str:
        between = f"{money(self.low_nanos)} to {money(self.high_nanos)}"
        return f"about {money(self.likely_nanos)} ({between}), with " + "; ".join(self.assumptions)


@dataclass(frozen=True)
class _Conversation:
    """Tokens by role: told before the first utterance, and of an utterance; `rounds` of a question and an answer."""

    told: Mapping[str, float]
    utterance: Mapping[str, int]
    rounds: int


def estimate_cost(
    spec: RunSpec,
    seeds: Sequence[Seed],
    prices: Mapping[str, Prices | None],
    *,
    utterance_tokens: int = TYPICAL_TOKENS,
) -> CostEstimate:
    """The cost of a run.

    Args:
        prices: by role, of the sides that ask chat APIs; of several endpoints see `dearest`. None: not known.
        utterance_tokens: what an utterance has, where `max_tokens` is not less.

    Raises:
        ValueError: a price is not known.
    """
    unknown = sorted(role for role, price in prices.items() if price is None)
    if unknown:
        raise ValueError(f"the prices of the {' and the '.join(unknown)} are not known")
    is_reanswered = spec.seed_mode is SeedMode.REANSWER  # then the simulator is asked nothing
    asked = (ASSISTANT,) if is_reanswered else (USER, ASSISTANT)
    known = {role: price for role, price in prices.items() if price is not None and role in asked}
    told = {role: _mean_told(spec, seeds, role) for role in (USER, ASSISTANT)}
    lengths = [max(1, utterance_tokens // 2), utterance_tokens, 2 * utterance_tokens]
    questions = _questions(spec, seeds) if is_reanswered else None
    conversations = [_conversation(spec, told, length, questions) for length in lengths]
    costs = [spec.conversations * _cost(one, known) for one in conversations]
    return CostEstimate(min(costs), costs[1], max(costs), _assumptions(spec, conversations[1]))


def dearest(prices: Sequence[Prices | None]) -> Prices | None:
    """Of each kind of token the highest price; None where one is not known."""
    known = [price for price in prices if price is not None]
    if not known or len(known) < len(prices):
        return None
    return Prices(input=max(price.input for price in known), output=max(price.output for price in known))


def _questions(spec: RunSpec, seeds: Sequence[Seed]) -> tuple[int, int]:
    """How many questions a seed gives that are answered again, and the tokens of one, on average."""
    tokens = [estimated_tokens(text) for seed in seeds for _, text in given_utterances(seed, spec.seed_mode)]
    return math.ceil(len(tokens) / max(1, len(seeds))), math.ceil(sum(tokens) / max(1, len(tokens)))


def _conversation(
    spec: RunSpec, told: Mapping[str, float], utterance_tokens: int, questions: tuple[int, int] | None
) -> _Conversation:
    """As many rounds as fit into the context, or as the run allows; `questions` where a seed gives them all."""
    wanted = {USER: spec.simulator.sampling.max_tokens, ASSISTANT: spec.respondent.sampling.max_tokens}
    utterance = {role: min(tokens, utterance_tokens) for role, tokens in wanted.items()}
    if questions is not None:
        utterance[USER] = questions[1]
    rounds = int((spec.endings.context_tokens - max(told.values())) // sum(utterance.values()))
    if questions is not None:
        rounds = min(rounds, questions[0])
    if spec.endings.max_turns is not None:
        rounds = min(rounds, spec.endings.max_turns // 2)
    return _Conversation(told, utterance, max(1, rounds))


def _cost(conversation: _Conversation, prices: Mapping[str, Prices]) -> int:
    """Each prompt holds what was told and all that was said before it."""
    num_rounds, said = conversation.rounds, sum(conversation.utterance.values())
    total = 0
    for role, price in prices.items():
        question = conversation.utterance[USER] if role == ASSISTANT else 0
        prompts = num_rounds * (conversation.told[role] + question) + said * num_rounds * (num_rounds - 1) / 2
        total += price.cost(Usage(math.ceil(prompts), num_rounds * conversation.utterance[role]))
    return total


def _mean_told(spec: RunSpec, seeds: Sequence[Seed], role: str) -> float:
    return sum(_told(spec, seed, role) for seed in seeds) / len(seeds) if seeds else _told(spec, Seed(), role)


def _told(spec: RunSpec, seed: Seed, role: str) -> int:
    """Tokens of what a side is told, and of what its seed has said before the first utterance that is made."""
    side = spec.simulator if role == USER else spec.respondent
    told = speaker_profile(side.profile).system_text(told_of(side, seed, spec.seed_mode))
    given = [] if spec.seed_mode is SeedMode.REANSWER else given_utterances(seed, spec.seed_mode)
    return sum(map(estimated_tokens, [told or "", *(text for _, text in given)]))


def _assumptions(spec: RunSpec, conversation: _Conversation) -> tuple[str, ...]:
    turns = "" if spec.endings.max_turns is None else f" and {spec.endings.max_turns} turns"
    question, answer = conversation.utterance[USER], conversation.utterance[ASSISTANT]
    return (
        f"{spec.conversations} conversations of {conversation.rounds} rounds,"
        f" within {spec.endings.context_tokens} tokens{turns}",
        f"{question} tokens a question and {answer} an answer",
        "nothing from the APIs' caches, and nothing made twice",
    )
