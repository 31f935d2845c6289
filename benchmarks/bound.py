"""How much of a run's prompts a prefix cache can hold at best."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from benchmarks.recorded import RecordedRequest


@dataclass(frozen=True)
class Length:
    """One request's, in tokens; the output's eos counts."""

    prompt: int
    output: int


def lengths_by_role(conversation: Iterable[RecordedRequest]) -> dict[str, list[Length]]:
    """A conversation's requests to each side, in order."""
    lengths: dict[str, list[Length]] = {}
    for request in conversation:
        lengths.setdefault(request.role, []).append(Length(len(request.prompt), request.num_output_tokens))
    return lengths


def continued(lengths: Sequence[Length], block_tokens: int) -> int:
    """Tokens that one conversation's later requests can find of its earlier ones, on one side.

    Each repeats what the engine has read and said before. The last token said has not been read yet, and only whole
    blocks are kept: floor((previous prompt + previous output - 1) / block) * block.
    """
    return sum((before.prompt + before.output - 1) // block_tokens * block_tokens for before in lengths[:-1])


def shared(first_prompts: Sequence[Sequence[int]], block_tokens: int, num_replicas: int) -> int:
    """Tokens that one side's conversations can find of one another: the blocks with which all of them begin.

    An engine has to read them once; after that every conversation's first request can find them, though at least one
    token of a prompt is always read.
    """
    if not first_prompts:
        return 0
    common = sum(1 for _ in takewhile(lambda ids: len(set(ids)) == 1, zip(*first_prompts, strict=False)))
    readable = min(common, min(map(len, first_prompts)) - 1)
    return readable // block_tokens * block_tokens * max(0, len(first_prompts) - num_replicas)


def attainable(conversations: Sequence[Sequence[RecordedRequest]], block_tokens: int, num_replicas: int) -> int:
    """Prompt tokens of all these conversations, on both sides, that the engines' caches can give at best."""
    within = sum(
        continued(lengths, block_tokens)
        for conversation in conversations
        for lengths in lengths_by_role(conversation).values()
    )
    return within + sum(shared(prompts, block_tokens, num_replicas) for prompts in _first_prompts(conversations))


def _first_prompts(conversations: Iterable[Sequence[RecordedRequest]]) -> Iterable[list[Sequence[int]]]:
    """Each side's first prompt of every conversation."""
    prompts: dict[str, list[Sequence[int]]] = {}
    for conversation in conversations:
        firsts: dict[str, Sequence[int]] = {}
        for request in conversation:
            firsts.setdefault(request.role, request.prompt)
        for role, prompt in firsts.items():
            prompts.setdefault(role, []).append(prompt)
    return prompts.values()
