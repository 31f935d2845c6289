"""Which stages clean, in which order, and what they are told."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from platolm.errors import InputError

PARSE = "parse"
"""The reading itself; it is counted like a stage, and cannot be switched off."""


class StageName(StrEnum):
    """Every stage, in the order in which they run."""

    ROLES = "roles"
    MARKDOWN = "markdown"
    FURNITURE = "furniture"
    ALTERNATION = "alternation"
    LANGUAGE = "language"
    REFUSALS = "refusals"
    SHORT = "short"
    PII = "pii"
    EXACT_DUPLICATES = "exact_duplicates"
    NEAR_DUPLICATES = "near_duplicates"
    SPLIT = "split"


GLOBAL_STAGES = frozenset({StageName.EXACT_DUPLICATES, StageName.NEAR_DUPLICATES})
"""Those that look at all dialogues together; every other one looks at one alone."""

USUAL_STAGES = frozenset(StageName) - {StageName.PII, StageName.SPLIT}


@dataclass(frozen=True)
class CleanSettings:
    """What a cleaning does; the same settings and files give the same bytes.

    Args:
        stages: those that run, whatever the order they are given in.
        languages: two-letter codes to keep; empty keeps all and only records them.
        min_language_score: how likely these languages have to be, 0-1.
        min_rounds: fewer questions with an answer are too short.
        similarity: share of equal word shingles, 0-1, from which a dialogue repeats an earlier one.
        max_length: tokens of a segment, with header and names. `split` needs it.
        tokenizer: a model folder or a hub name. `split` needs it.
    """

    stages: frozenset[StageName] = USUAL_STAGES
    languages: tuple[str, ...] = ()
    min_language_score: float = 0.5
    min_rounds: int = 1
    similarity: float = 0.8
    max_length: int | None = None
    tokenizer: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot run.

        Raises:
            InputError: splitting is asked for without what it needs, or the other way round; languages without the
                stage that tells them.
        """
        has_length, has_tokenizer = self.max_length is not None, self.tokenizer is not None
        if (StageName.SPLIT in self.stages, has_length, has_tokenizer) not in ((True,) * 3, (False,) * 3):
            raise InputError("splitting needs both --max-length N and --tokenizer DIR")
        if self.languages and StageName.LANGUAGE not in self.stages:
            raise InputError(
                "--languages needs the stage language: leave --no-language out, or name it with --only too"
            )

    def __contains__(self, name: StageName) -> bool:
        return name in self.stages

    def as_json(self) -> dict[str, Any]:
        """For the report; stages in their order."""
        return {**asdict(self), "stages": [name.value for name in StageName if name in self.stages]}


def chosen_stages(
    *, only: Collection[StageName], without: Collection[StageName], also: Collection[StageName]
) -> frozenset[StageName]:
    """The stages of a command line: `only` these or else the usual ones, and `also` some, `without` others."""
    return ((frozenset(only) or USUAL_STAGES) | frozenset(also)) - frozenset(without)
