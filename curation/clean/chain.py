"""The stages that look at one dialogue alone, made from settings and run one after the other."""

from __future__ import annotations

from collections.abc import Sequence

from curation.clean.alternation import Alternation
from curation.clean.furniture import Furniture
from curation.clean.language import Language
from curation.clean.markdown import Markdown
from curation.clean.normalise import Roles
from curation.clean.pii import Pii
from curation.clean.refusals import Refusals
from curation.clean.report import StageCount
from curation.clean.settings import GLOBAL_STAGES, CleanSettings, StageName
from curation.clean.short import Short
from curation.clean.split import Split
from curation.clean.stages import Stage
from curation.dialogue import Dialogue


def local_stages(settings: CleanSettings) -> tuple[Stage, ...]:
    """Those before the duplicates, in order."""
    names = (name for name in StageName if name in settings and name not in GLOBAL_STAGES | {StageName.SPLIT})
    return tuple(_stage(name, settings) for name in names)


def split_stages(settings: CleanSettings) -> tuple[Stage, ...]:
    """Those after the duplicates: splitting, or nothing."""
    return (_stage(StageName.SPLIT, settings),) if StageName.SPLIT in settings else ()


def counts_of(stages: Sequence[Stage]) -> list[StageCount]:
    """Empty accounts."""
    return [StageCount(stage.name) for stage in stages]


def run_stages(stages: Sequence[Stage], dialogue: Dialogue, counts: Sequence[StageCount]) -> tuple[Dialogue, ...]:
    """What is left of a dialogue, counted stage by stage."""
    alive: tuple[Dialogue, ...] = (dialogue,)
    for stage, count in zip(stages, counts, strict=True):
        alive = tuple(after for before in alive for after in count.pass_on(before, stage.apply(before)))
    return alive


def _stage(name: StageName, settings: CleanSettings) -> Stage:
    match name:
        case StageName.ROLES:
            return Roles()
        case StageName.MARKDOWN:
            return Markdown()
        case StageName.FURNITURE:
            return Furniture()
        case StageName.ALTERNATION:
            return Alternation()
        case StageName.LANGUAGE:
            return Language(settings.languages, settings.min_language_score)
        case StageName.REFUSALS:
            return Refusals()
        case StageName.SHORT:
            return Short(settings.min_rounds)
        case StageName.PII:
            return Pii()
        case StageName.SPLIT:
            assert settings.max_length is not None
            assert settings.tokenizer is not None
            return Split(settings.max_length, settings.tokenizer)
        case _:
            raise ValueError(f"{name} does not look at one dialogue alone")
