"""Stages made from settings and run one after the other."""

from __future__ import annotations

from curation.clean.chain import counts_of, local_stages, run_stages, split_stages
from curation.clean.settings import GLOBAL_STAGES, USUAL_STAGES, CleanSettings, StageName
from curation.clean.stages import Dropped, Outcome
from curation.dialogue import Dialogue
from tests.unit.curation.clean.spoken import spoken


class Becomes:
    """A stage with one outcome for all."""

    name = "becomes"

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome

    def apply(self, dialogue: Dialogue) -> Outcome:
        return self._outcome


def test_every_stage_is_made_once_and_in_order() -> None:
    every = CleanSettings(stages=frozenset(StageName), max_length=100, tokenizer="t")
    local = [stage.name for stage in local_stages(every)]
    assert local == [name.value for name in StageName if name not in GLOBAL_STAGES | {StageName.SPLIT}]
    assert [stage.name for stage in split_stages(every)] == ["split"]
    assert split_stages(CleanSettings()) == ()
    assert [stage.name for stage in local_stages(CleanSettings(stages=frozenset({StageName.SHORT})))] == ["short"]


def test_settings_reach_their_stages() -> None:
    settings = CleanSettings(languages=("de",), min_language_score=0.3, min_rounds=2)
    stages = {stage.name: stage for stage in local_stages(settings)}
    english = spoken("Where do the swallows go in the winter?", "They fly to Africa, all of them.")
    assert isinstance(stages["language"].apply(english), Dropped)
    assert isinstance(stages["short"].apply(english), Dropped)


def test_a_stage_sees_what_the_one_before_it_left_and_is_counted_for_that() -> None:
    two = (spoken("a", "b"), spoken("c"))
    stages = [Becomes(two), Becomes(Dropped("gone"))]
    counts = counts_of(stages)
    assert run_stages(stages, spoken("x"), counts) == ()
    assert [(count.conversations_in, count.conversations_out) for count in counts] == [(1, 2), (2, 0)]
    assert [(count.turns_in, count.turns_out) for count in counts] == [(1, 3), (3, 0)]
    assert counts[1].dropped == {"gone": 2}


def test_no_stages_leave_all() -> None:
    dialogue = spoken("x")
    assert run_stages([], dialogue, []) == (dialogue,)


def test_usual_settings_name_no_stage_that_is_not_made() -> None:
    made = {stage.name for stage in local_stages(CleanSettings())} | {name.value for name in GLOBAL_STAGES}
    assert made == {name.value for name in USUAL_STAGES}
