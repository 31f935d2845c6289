"""What is checked of a run before it starts: whether its seeds and its context fit the models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from platolm.conversation import ASSISTANT, USER, other_role
from platolm.dyadic import Turn
from platolm.errors import InputError, TokenizerError
from platolm.spec import RunSpec, Seed, SeedMode, SideSpec, given_utterances, speaker_profile, told_of
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.orchestrator.engines.sides import SIDE_NAMES, SideDescription
from services.orchestrator.runs.fitting import Prompt, PromptTexts, TokenBounds, dyadic_of, token_bounds, which_fit

MIN_ROOM_TOKENS = 32
"""An opening that leaves less for the utterance after it is left out: no round could come of it."""

_LINES_SHOWN = 10


class NoUsableSeedError(InputError):
    """No seed of a run fits into its context, or leaves a turn to be made."""


@dataclass(frozen=True)
class Admitted:
    """A run as it will be: its seeds that fit, what its owner should know, and the context of its conversations."""

    seeds: list[Seed]
    warnings: list[str]
    context_tokens: int


def admit(spec: RunSpec, seeds: Sequence[Seed], found: Mapping[str, SideDescription]) -> Admitted:
    """Compare a run with what workers found at the engines, by role; a side that is not known is not checked.

    Raises:
        NoUsableSeedError: not one seed leaves room for an answer, or a turn within `max_turns`.
    """
    known = {role: side for role, side in found.items() if _is_asked_for(side, _side(spec, role))}
    warnings = _unserved(spec, found)
    context = min([spec.endings.context_tokens, *(side.max_model_len for side in known.values())])
    if context < spec.endings.context_tokens:
        warnings.append(f"context is {context} tokens, the models' limit, not {spec.endings.context_tokens}")
    if spec.seed_mode is SeedMode.FREE:
        return Admitted(list(seeds), warnings, context)
    seeds = _going_on(spec, seeds, warnings)
    try:
        fits = _which_leave_room(spec, seeds, known, context)
    except TokenizerError as error:
        return Admitted(list(seeds), [*warnings, f"seeds were not checked against the context: {error}"], context)
    fitting = [seed for seed, fit in zip(seeds, fits, strict=True) if fit]
    left_out = [seed for seed, fit in zip(seeds, fits, strict=True) if not fit]
    if not fitting:
        raise NoUsableSeedError(f"every seed leaves less than {MIN_ROOM_TOKENS} of {context} tokens for an answer")
    if left_out:
        warnings.append(_left_out_text(left_out, f"leave no room for an answer in {context} tokens"))
    return Admitted(fitting, warnings, context)


def _going_on(spec: RunSpec, seeds: Sequence[Seed], warnings: list[str]) -> list[Seed]:
    """The seeds that `max_turns` leaves a round of."""
    most = spec.endings.max_turns
    if spec.seed_mode is not SeedMode.CONTINUE or most is None:
        return list(seeds)
    ended = [_speaker_after(spec, seed) == USER and len(seed.turns or []) + 2 > most for seed in seeds]
    if all(ended):
        raise NoUsableSeedError(f"every seed has too many turns already for a round within max_turns {most}")
    if any(ended):
        left_out = [seed for seed, is_ended in zip(seeds, ended, strict=True) if is_ended]
        warnings.append(_left_out_text(left_out, f"have too many turns already for a round within max_turns {most}"))
    return [seed for seed, is_ended in zip(seeds, ended, strict=True) if not is_ended]


def _speaker_after(spec: RunSpec, seed: Seed) -> str:
    """Whose prompt is the first that has to fit."""
    if spec.seed_mode is SeedMode.CONTINUE and seed.turns:
        return other_role(seed.turns[-1].role)
    return USER if spec.seed_mode in (SeedMode.EXCHANGE, SeedMode.INTENT) else ASSISTANT


def _which_leave_room(
    spec: RunSpec, seeds: Sequence[Seed], known: Mapping[str, SideDescription], context_tokens: int
) -> list[bool]:
    """For each seed whether there is room for the utterance after it; yes where that side is not known."""
    fits: dict[int, bool] = {}
    for role, side in known.items():
        positions = [position for position, seed in enumerate(seeds) if _speaker_after(spec, seed) == role]
        if positions:
            of_role = _fits(spec, [seeds[position] for position in positions], role, side.tokenizer, context_tokens)
            fits.update(zip(positions, of_role, strict=True))
    return [fits.get(position, True) for position in range(len(seeds))]


def _unserved(spec: RunSpec, found: Mapping[str, SideDescription]) -> list[str]:
    """Models that are asked for of the workers' own engines, where workers found another."""
    return [
        f"{SIDE_NAMES[role]}: workers found the model {side.model!r}, not {asked.model!r}"
        for role, side in found.items()
        if (asked := _side(spec, role)).endpoints is None and not asked.apis and asked.model not in (None, side.model)
    ]


def _is_asked_for(side: SideDescription, asked: SideSpec) -> bool:
    """Whether what workers found is what the run will talk to."""
    return asked.endpoints is None and not asked.apis and asked.model in (None, side.model)


def _side(spec: RunSpec, role: str) -> SideSpec:
    return spec.simulator if role == USER else spec.respondent


def _fits(spec: RunSpec, seeds: Sequence[Seed], role: str, source: str, context_tokens: int) -> list[bool]:
    room = context_tokens - MIN_ROOM_TOKENS
    if dyadic_of(speaker_profile(_side(spec, role).profile)) is None:
        return [num_tokens <= room for num_tokens in _lengths(spec, seeds, role, _cached_tokenizer(source))]
    return which_fit(_prompts(spec, seeds, role), lambda: _cached_tokenizer(source), _cached_bounds(source), room)


def _prompts(spec: RunSpec, seeds: Sequence[Seed], role: str) -> Iterator[Prompt]:
    """For each seed the prompt of the first utterance that is generated, in the dyadic format."""
    texts, side = PromptTexts(), _side(spec, role)
    profile = speaker_profile(side.profile)
    dyadic = dyadic_of(profile)
    assert dyadic is not None, "other prompts are composed whole"
    for seed in seeds:
        told = profile.system_text(told_of(side, seed, spec.seed_mode))
        yield texts.prompt(dyadic, told, _given(spec, seed))


def _lengths(spec: RunSpec, seeds: Sequence[Seed], role: str, tokenizer: HubTokenizer) -> Iterator[int]:
    """Tokens of the same prompts in any format."""
    side = _side(spec, role)
    prompts = speaker_profile(side.profile).prompts(tokenizer)
    for seed in seeds:
        yield len(prompts.ids(_given(spec, seed), told_of(side, seed, spec.seed_mode)))


def _given(spec: RunSpec, seed: Seed) -> list[Turn]:
    """What is said before the first utterance that is generated."""
    given = given_utterances(seed, spec.seed_mode)
    opening = given[:1] if spec.seed_mode is SeedMode.REANSWER else given
    return [Turn(role, content) for role, content in opening]


@lru_cache(maxsize=4)
def _cached_tokenizer(source: str) -> HubTokenizer:
    return load_tokenizer(source)


@lru_cache(maxsize=4)
def _cached_bounds(source: str) -> TokenBounds:
    """A hub's tokenizer lies in a folder too, once it is loaded."""
    folder = source if Path(source).is_dir() else _cached_tokenizer(source).name
    return token_bounds(Path(folder))


def _left_out_text(left_out: Sequence[Seed], why: str) -> str:
    lines = ", ".join(str(seed.line) for seed in left_out[:_LINES_SHOWN] if seed.line is not None)
    more = f" and {len(left_out) - _LINES_SHOWN} more" if len(left_out) > _LINES_SHOWN else ""
    where = f" (lines {lines}{more})" if lines else ""
    return f"{len(left_out)} seeds {why} and are left out{where}"
