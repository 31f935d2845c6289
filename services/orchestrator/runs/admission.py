"""What is checked of a run before it starts: whether its seeds and its context fit the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PROFILES, Turn
from platolm.errors import InputError, TokenizerError
from platolm.spec import RunSpec, Seed, SeedMode, SideSpec, given_utterances, simulator_system_prompt
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.orchestrator.engines.sides import SIDE_NAMES, SideDescription
from services.orchestrator.runs.fitting import Prompt, PromptTexts, TokenBounds, token_bounds, which_fit

MIN_ROOM_TOKENS = 32
"""An opening that leaves less for the utterance after it is left out: no round could come of it."""

_LINES_SHOWN = 10


class NoUsableSeedError(InputError):
    """No seed of a run fits into its context."""


@dataclass(frozen=True)
class Admitted:
    """A run as it will be: its seeds that fit, what its owner should know, and the context of its conversations."""

    seeds: list[Seed]
    warnings: list[str]
    context_tokens: int


def admit(spec: RunSpec, seeds: Sequence[Seed], found: Mapping[str, SideDescription]) -> Admitted:
    """Compare a run with what workers found at the engines, by role; a side that is not known is not checked.

    Raises:
        NoUsableSeedError: not one seed leaves room for an answer.
    """
    known = {role: side for role, side in found.items() if _is_asked_for(side, _side(spec, role))}
    warnings = _unserved(spec, found)
    context = min([spec.endings.context_tokens, *(side.max_model_len for side in known.values())])
    if context < spec.endings.context_tokens:
        warnings.append(f"context is {context} tokens, the models' limit, not {spec.endings.context_tokens}")
    speaker = USER if spec.seed_mode in (SeedMode.EXCHANGE, SeedMode.INTENT) else ASSISTANT
    if spec.seed_mode is SeedMode.FREE or speaker not in known:
        return Admitted(list(seeds), warnings, context)
    try:
        fits = _fits(spec, seeds, speaker, known[speaker].tokenizer, context)
    except TokenizerError as error:
        return Admitted(list(seeds), [*warnings, f"seeds were not checked against the context: {error}"], context)
    fitting = [seed for seed, fit in zip(seeds, fits, strict=True) if fit]
    left_out = [seed for seed, fit in zip(seeds, fits, strict=True) if not fit]
    if not fitting:
        raise NoUsableSeedError(f"every seed leaves less than {MIN_ROOM_TOKENS} of {context} tokens for an answer")
    if left_out:
        warnings.append(_left_out_text(left_out, context))
    return Admitted(fitting, warnings, context)


def _unserved(spec: RunSpec, found: Mapping[str, SideDescription]) -> list[str]:
    """Models that are asked for of the workers' own engines, where workers found another."""
    return [
        f"{SIDE_NAMES[role]}: workers found the model {side.model!r}, not {asked.model!r}"
        for role, side in found.items()
        if (asked := _side(spec, role)).endpoints is None and asked.model not in (None, side.model)
    ]


def _is_asked_for(side: SideDescription, asked: SideSpec) -> bool:
    """Whether what workers found is what the run will talk to."""
    return asked.endpoints is None and asked.model in (None, side.model)


def _side(spec: RunSpec, role: str) -> SideSpec:
    return spec.simulator if role == USER else spec.respondent


def _fits(spec: RunSpec, seeds: Sequence[Seed], role: str, source: str, context_tokens: int) -> list[bool]:
    room = context_tokens - MIN_ROOM_TOKENS
    return which_fit(_prompts(spec, seeds, role), lambda: _cached_tokenizer(source), _cached_bounds(source), room)


def _prompts(spec: RunSpec, seeds: Sequence[Seed], role: str) -> Iterator[Prompt]:
    """For each seed the prompt of the first utterance that is generated."""
    texts, side = PromptTexts(), _side(spec, role)
    profile = PROFILES[side.profile]
    for seed in seeds:
        told = simulator_system_prompt(side, seed, spec.seed_mode) if role == USER else side.system_prompt
        given = [Turn(given_role, content) for given_role, content in given_utterances(seed, spec.seed_mode)]
        yield texts.prompt(profile, told, given)


@lru_cache(maxsize=4)
def _cached_tokenizer(source: str) -> HubTokenizer:
    return load_tokenizer(source)


@lru_cache(maxsize=4)
def _cached_bounds(source: str) -> TokenBounds:
    """A hub's tokenizer lies in a folder too, once it is loaded."""
    folder = source if Path(source).is_dir() else _cached_tokenizer(source).name
    return token_bounds(Path(folder))


def _left_out_text(left_out: Sequence[Seed], context_tokens: int) -> str:
    lines = ", ".join(str(seed.line) for seed in left_out[:_LINES_SHOWN] if seed.line is not None)
    more = f" and {len(left_out) - _LINES_SHOWN} more" if len(left_out) > _LINES_SHOWN else ""
    where = f" (lines {lines}{more})" if lines else ""
    return f"{len(left_out)} seeds leave no room for an answer in {context_tokens} tokens and are left out{where}"
