"""From a spec file and options to the request for a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from platolm.cli.console import print_bad_lines, print_notice
from platolm.errors import BadLine, InputError
from platolm.sampling import Sampling
from platolm.seeds import SeedFile, read_seeds
from platolm.spec import Endings, RunRequest, RunSpec, Seed, SeedMode
from platolm.spec_file import SpecDraft, read_spec_file

DEFAULT_FREE_CONVERSATIONS = 64
API_PROFILES = {"simulator": "roleplay", "respondent": "chat"}
"""Of sides that ask chat APIs, where nothing else is said: the others' models speak formats of their own."""


@dataclass(frozen=True)
class Composed:
    """A request, the seed file it was made from, and the lines of that which were left out."""

    request: RunRequest
    seeds: Path | None
    bad_lines: tuple[BadLine, ...] = ()


def compose(
    spec_path: Path | None, values: Mapping[str, Any], *, seeds: Path | None = None, skip_bad: bool = False
) -> Composed:
    """The request that a spec file and options come to.

    Args:
        spec_path: a spec file; None: every default.
        values: by the dotted paths of the spec's fields, what counts more than the file; None: not given.
        seeds: a seed file, instead of the one that the spec file names.
        skip_bad: leave out unusable lines of the seed file.

    Raises:
        InputError: the spec or the seeds are wrong, or do not go together.
    """
    draft = SpecDraft() if spec_path is None else read_spec_file(spec_path)
    draft = draft.with_values({path: value for path, value in values.items() if value is not None})
    for side, profile in API_PROFILES.items():
        if draft.has(f"{side}.apis"):
            draft = _with_default(draft, f"{side}.profile", profile)
    seeds = seeds or draft.seeds
    if seeds is not None:
        mode = SeedMode.CONTINUE if draft.has("from_turn") else SeedMode.QUESTION
        draft = _with_default(draft, "seed_mode", mode.value)
    provisional = _with_default(draft, "conversations", 1).spec()
    seed_file = _read_seed_file(seeds, provisional, skip_bad=skip_bad)
    num_default = len(seed_file.seeds) * provisional.repeats or DEFAULT_FREE_CONVERSATIONS
    spec = _with_default(draft, "conversations", num_default).spec()
    return Composed(_request(spec, seed_file.seeds), seeds, tuple(seed_file.bad_lines))


def build_request(
    seeds: Sequence[Seed],
    *,
    seed_mode: SeedMode,
    conversations: int | None,
    seed: int,
    sampling: Sampling,
    endings: Endings,
) -> RunRequest:
    """The request for a run whose parts are typed already; both sides sample alike.

    Raises:
        InputError: the parts do not go together.
    """
    sides = {f"{side}.sampling": sampling.model_dump(mode="json") for side in ("simulator", "respondent")}
    values = {"seed_mode": seed_mode.value, "seed": seed, "endings": endings.model_dump(mode="json"), **sides}
    number = conversations or len(seeds) or DEFAULT_FREE_CONVERSATIONS
    spec = SpecDraft().with_values({"conversations": number, **values}).spec()
    return _request(spec, seeds)


def say_what_differs(composed: Composed) -> None:
    """What a person may not expect: lines that were left out, seeds that are used more than once."""
    num_seeds, spec = len(composed.request.seeds), composed.request.spec
    if composed.bad_lines:
        print_bad_lines(composed.bad_lines)
        print_notice(f"{len(composed.bad_lines):,} unusable lines left out, {num_seeds:,} seeds kept")
    if 0 < num_seeds * spec.repeats < spec.conversations:
        print_notice(f"{spec.conversations:,} conversations from {num_seeds:,} seeds: used again in turn")


def _request(spec: RunSpec, seeds: Sequence[Seed]) -> RunRequest:
    try:
        return RunRequest(spec=spec, seeds=list(seeds))
    except ValidationError as error:
        reasons = "; ".join(problem["msg"].removeprefix("Value error, ") for problem in error.errors())
        raise InputError(reasons) from None


def _with_default(draft: SpecDraft, path: str, value: Any) -> SpecDraft:
    return draft if draft.has(path) else draft.with_values({path: value})


def _read_seed_file(seeds: Path | None, spec: RunSpec, *, skip_bad: bool) -> SeedFile:
    mode = spec.seed_mode
    if mode is SeedMode.FREE:
        if seeds is not None:
            raise InputError(f"seed mode free takes no --seeds ({seeds}): the simulator opens by itself")
        return SeedFile([])
    if seeds is None:
        raise InputError(f"seed mode {mode} needs a --seeds file")
    return read_seeds(seeds, mode, skip_bad=skip_bad, from_turn=spec.from_turn)
