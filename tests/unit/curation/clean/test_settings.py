"""Which stages run, and what they cannot run without."""

from __future__ import annotations

import pytest

from curation.clean.settings import USUAL_STAGES, CleanSettings, StageName, chosen_stages
from platolm.errors import InputError


def chosen(*, only: str = "", without: str = "", also: str = "") -> set[str]:
    of = {name: [StageName(one) for one in given.split()] for name, given in
          (("only", only), ("without", without), ("also", also))}  # fmt: skip
    return {stage.value for stage in chosen_stages(**of)}


def test_the_usual_ones_are_all_but_pii_and_splitting() -> None:
    assert chosen() == {stage.value for stage in StageName} - {"pii", "split"}
    assert set(USUAL_STAGES) == CleanSettings().stages


@pytest.mark.parametrize(
    ("only", "without", "also", "expected"),
    [
        ("markdown furniture", "", "", {"markdown", "furniture"}),
        ("markdown furniture", "furniture", "", {"markdown"}),
        ("markdown", "", "pii", {"markdown", "pii"}),
        ("markdown", "markdown", "", set()),
        ("pii", "", "", {"pii"}),
    ],
)
def test_only_some_with_more_and_less(only: str, without: str, also: str, expected: set[str]) -> None:
    assert chosen(only=only, without=without, also=also) == expected


def test_stages_are_told_in_their_order() -> None:
    settings = CleanSettings(stages=frozenset({StageName.SHORT, StageName.ROLES, StageName.LANGUAGE}))
    assert settings.as_json()["stages"] == ["roles", "language", "short"]
    assert settings.as_json()["similarity"] == 0.8


@pytest.mark.parametrize(
    ("with_stage", "max_length", "tokenizer"),
    [(True, None, None), (True, 100, None), (True, None, "t"), (False, 100, "t"), (False, 100, None)],
)
def test_splitting_needs_a_length_and_a_tokenizer(
    with_stage: bool, max_length: int | None, tokenizer: str | None
) -> None:
    stages = USUAL_STAGES | ({StageName.SPLIT} if with_stage else set())
    with pytest.raises(InputError, match="both --max-length N and --tokenizer DIR"):
        CleanSettings(stages=stages, max_length=max_length, tokenizer=tokenizer)


def test_languages_need_the_stage_that_tells_them() -> None:
    with pytest.raises(InputError, match="--languages needs the stage language"):
        CleanSettings(stages=USUAL_STAGES - {StageName.LANGUAGE}, languages=("en",))
