"""What conversations say: lengths drawn once, the same for every policy."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulation.state import Ints, SmallInts


@dataclass(frozen=True)
class Workload:
    """Tokens of all conversations' utterances in a row; conversation c's lie from `first[c]` to `first[c + 1]`."""

    first: Ints
    tokens: SmallInts
    opening_tokens: int
    framing_tokens: int

    @property
    def num_conversations(self) -> int:
        return len(self.first) - 1

    def requests(self, talk: int, side: int) -> list[tuple[float, float]]:
        """Prompt and utterance of a conversation's requests to one side, in tokens."""
        said = self.tokens[self.first[talk] : self.first[talk + 1]]
        prompts = self.opening_tokens + np.concatenate([[0], np.cumsum(said[:-1] + self.framing_tokens)])
        return [(float(prompts[i]), float(said[i])) for i in range(side, len(said), 2)]


@dataclass(frozen=True)
class Lengths:
    """How long conversations are. `spread` is the sigma of a log-normal over an utterance's tokens, 0: all are equal.

    A conversation ends after `max_utterances`, where the next utterance does not fit into `context_tokens`, or, with
    `ends_one_in` above 0, with a chance of one in so many after each answer.
    """

    user_tokens: float = 24.0
    assistant_tokens: float = 64.0
    spread: float = 0.0
    max_utterances: int = 10
    ends_one_in: float = 0.0
    max_tokens: int = 192
    context_tokens: int = 1024
    opening_tokens: int = 32
    framing_tokens: int = 4


def drawn(lengths: Lengths, num_conversations: int, seed: int = 0) -> Workload:
    """So many conversations; the same seed gives the same ones."""
    chance = np.random.default_rng(seed)
    shape = (num_conversations, lengths.max_utterances)
    means = np.where(np.arange(lengths.max_utterances) % 2 == 0, lengths.user_tokens, lengths.assistant_tokens)
    factors = chance.lognormal(-(lengths.spread**2) / 2, lengths.spread, shape) if lengths.spread else np.ones(shape)
    tokens = np.clip(np.rint(factors * means), 1, lengths.max_tokens).astype(np.int32)
    ends = np.cumsum(tokens + lengths.framing_tokens, axis=1) + lengths.opening_tokens
    count = (ends <= lengths.context_tokens).sum(axis=1)
    if lengths.ends_one_in:
        rounds = chance.geometric(1 / lengths.ends_one_in, num_conversations)
        count = np.minimum(count, 2 * rounds)
    count = np.maximum(count, 2)
    first = np.concatenate([[0], np.cumsum(count)]).astype(np.int64)
    kept = np.arange(lengths.max_utterances)[None, :] < count[:, None]
    return Workload(first, tokens[kept], lengths.opening_tokens, lengths.framing_tokens)
