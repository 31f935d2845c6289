"""What is checked of a run before it starts: whether its seeds and its context fit the models."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PROFILES, Turn
from platolm.errors import InputError, TokenizerError
from platolm.runs import RunSpec, Seed, SeedMode, SideSpec, given_utterances
from platolm.speakers import TokenSpeaker
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.orchestrator.queue import Queue
from services.orchestrator.sides import SIDE_NAMES, SideDescription

MIN_ROOM_TOKENS = 32
"""An opening that leaves less for the utterance after it is left out: no round could come of it."""

_LINES_SHOWN = 10


class NoUsableSeedError(InputError):
    """No seed of a run fits into its context."""


@dataclass(frozen=True)
class Admitted:
    """A run as it will be: its seeds that fit, and what its owner should know."""

    seeds: list[Seed]
    warnings: list[str]


async def admit(queue: Queue, spec: RunSpec, seeds: Sequence[Seed]) -> Admitted:
    """Compare a run with what workers found at the engines; without a worker so far, nothing is checked.

    Raises:
        NoUsableSeedError: not one seed leaves room for an answer.
    """
    descriptions = {role: await queue.side(name) for role, name in SIDE_NAMES.items()}
    known = {role: SideDescription(**found) for role, found in descriptions.items() if found}
    if len(known) < len(SIDE_NAMES):
        return Admitted(list(seeds), [])
    warnings = []
    limit = min(side.max_model_len for side in known.values())
    context = min(limit, spec.endings.context_tokens)
    if context < spec.endings.context_tokens:
        warnings.append(f"context is {context} tokens, the models' limit, not {spec.endings.context_tokens}")
    if spec.seed_mode is SeedMode.FREE:
        return Admitted([], warnings)
    try:
        fits = await asyncio.to_thread(_fits, spec, seeds, known, context)
    except TokenizerError as error:
        return Admitted(list(seeds), [*warnings, f"seeds were not checked against the context: {error}"])
    fitting = [seed for seed, fit in zip(seeds, fits, strict=True) if fit]
    left_out = [seed for seed, fit in zip(seeds, fits, strict=True) if not fit]
    if not fitting:
        raise NoUsableSeedError(f"every seed leaves less than {MIN_ROOM_TOKENS} of {context} tokens for an answer")
    if left_out:
        warnings.append(_left_out_text(left_out, context))
    return Admitted(fitting, warnings)


def _fits(spec: RunSpec, seeds: Sequence[Seed], known: dict[str, SideDescription], context_tokens: int) -> list[bool]:
    role = USER if spec.seed_mode is SeedMode.EXCHANGE else ASSISTANT
    side = spec.simulator if role == USER else spec.respondent
    speaker = _speaker(side, known[role], context_tokens)

    def fits(seed: Seed) -> bool:
        given = [Turn(role, content) for role, content in given_utterances(seed, spec.seed_mode)]
        return speaker.room(speaker.prompt(given)) >= MIN_ROOM_TOKENS

    return [fits(seed) for seed in seeds]


def _speaker(side: SideSpec, found: SideDescription, context_tokens: int) -> TokenSpeaker:
    return TokenSpeaker(
        profile=PROFILES[side.profile],
        tokenizer=_cached_tokenizer(found.tokenizer),
        model=found.model,
        sampling=side.sampling,
        context_tokens=context_tokens,
        system_prompt=side.system_prompt,
    )


@lru_cache(maxsize=4)
def _cached_tokenizer(source: str) -> HubTokenizer:
    return load_tokenizer(source)


def _left_out_text(left_out: Sequence[Seed], context_tokens: int) -> str:
    lines = ", ".join(str(seed.line) for seed in left_out[:_LINES_SHOWN] if seed.line is not None)
    more = f" and {len(left_out) - _LINES_SHOWN} more" if len(left_out) > _LINES_SHOWN else ""
    where = f" (lines {lines}{more})" if lines else ""
    return f"{len(left_out)} seeds leave no room for an answer in {context_tokens} tokens and are left out{where}"
