"""What a person is told when a run's state changes."""

from __future__ import annotations

import pytest

from platolm.mirror import realism_notices, state_notice
from platolm.runs import Pause, PausedBy, RealismProgress, RunProgress, RunState
from platolm.spec import RunSpec

LIMIT = Pause(by=PausedBy.LIMIT, reason="100 conversations are dead")
DISK = Pause(by=PausedBy.WRITER, reason="the disk is full")


def progress(state: RunState, pause: Pause | None = None, finished: int = 3) -> RunProgress:
    return RunProgress(
        id="run-1",
        state=state,
        pause=pause,
        spec=RunSpec(conversations=1000),
        created_at=0,
        fed=1000,
        in_flight=0,
        finished=finished,
        committed=finished,
    )


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (None, progress(RunState.RUNNING), None),
        (progress(RunState.RUNNING), progress(RunState.RUNNING, finished=4), None),
        (
            None,
            progress(RunState.PAUSED, LIMIT),
            "the run is paused by the limit: 100 conversations are dead; `platolm runs resume run-1` has it go on",
        ),
        (progress(RunState.PAUSED, LIMIT), progress(RunState.PAUSED, LIMIT, finished=5), None),
        (
            progress(RunState.PAUSED, LIMIT),
            progress(RunState.PAUSED, DISK),
            "the run is paused by the writer: the disk is full; `platolm runs resume run-1` has it go on",
        ),
        (
            progress(RunState.RUNNING),
            progress(RunState.PAUSED),
            "the run is paused; `platolm runs resume run-1` has it go on",
        ),
        (progress(RunState.PAUSED, LIMIT), progress(RunState.RUNNING), "the run goes on"),
        (
            progress(RunState.RUNNING),
            progress(RunState.CANCELLING),
            "the run is being cancelled; what is finished still comes home",
        ),
        (
            progress(RunState.CANCELLING),
            progress(RunState.CANCELLED),
            "the run was cancelled: 3 of 1,000 conversations are in its dataset",
        ),
        (progress(RunState.PAUSED, LIMIT), progress(RunState.COMPLETED), None),
    ],
)
def test_a_change_is_told_once(before: RunProgress | None, now: RunProgress, said: str | None) -> None:
    assert state_notice(before, now) == said


def out_of_bounds(pause: Pause | None = None, /, **wrong: str) -> RunProgress:
    realism = RealismProgress(conversations=300, figures={}, out_of_bounds=wrong)
    state = RunState.RUNNING if pause is None else RunState.PAUSED
    return progress(state, pause).model_copy(update={"realism": realism})


STOPPED = Pause(by=PausedBy.LIMIT, reason="too many repeats; too short")


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        (None, progress(RunState.RUNNING), []),
        (progress(RunState.RUNNING), out_of_bounds(), []),
        (progress(RunState.RUNNING), out_of_bounds(repeats="too many"), ["out of bounds: too many"]),
        (None, out_of_bounds(repeats="too many", mtld="dull"), ["out of bounds: too many", "out of bounds: dull"]),
        (out_of_bounds(repeats="too many"), out_of_bounds(repeats="too many", mtld="dull"), ["out of bounds: dull"]),
        (out_of_bounds(repeats="too many"), out_of_bounds(repeats="too many again"), ["out of bounds: too many again"]),
        (out_of_bounds(repeats="too many"), out_of_bounds(), []),
        (None, out_of_bounds(STOPPED, repeats="too many repeats", rounds="too short"), []),
    ],
)
def test_a_figure_that_leaves_its_bounds_is_told_once(
    before: RunProgress | None, now: RunProgress, said: list[str]
) -> None:
    assert realism_notices(before, now) == said
