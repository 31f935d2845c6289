"""Whether figures are within the bounds of a run's spec, and what the queue is told of them."""

from __future__ import annotations

import orjson
from hypothesis import given
from hypothesis import strategies as st

from platolm.realism import FIGURES, Realism
from platolm.realism_limits import Bounds, OutOfBounds, RealismLimits
from services.orchestrator.queue import RealismReport
from services.orchestrator.queue.realism import NO_REPORT, REALISM_FIELDS, realism_of
from services.orchestrator.run_keeper.judging import report_of
from tests.unit.test_realism import talk

REPEATING = ("tell me a story", "no", "tell me a story", "no")


def measured(*contents: tuple[str, ...]) -> Realism:
    realism = Realism()
    for said in contents:
        realism.add(talk(*said))
    return realism


def limits(after: int = 1, then: str = "warn", **bounds: dict[str, float]) -> RealismLimits:
    return RealismLimits.model_validate({"after": after, "then": then, **bounds})


def judged(realism: Realism, asked: RealismLimits) -> dict[str, str]:
    report = report_of(realism, asked)
    assert report is not None
    assert (report.conversations, report.figures, report.then) == (
        realism.conversations,
        realism.figures(),
        asked.then,
    )
    return dict(report.judged)


def test_before_anything_is_measured_there_is_nothing_to_tell() -> None:
    assert report_of(Realism(), limits(repeats={"at_most": 0})) is None


def test_what_is_wrong_is_said_with_the_bound_and_its_place() -> None:
    asked = limits(then="pause", repeats={"at_most": 0.02}, rounds={"at_least": 1, "at_most": 2}, mtld={"at_least": 50})
    assert judged(measured(REPEATING), asked) == {
        "rounds": "",
        "mtld": "mtld 4 is below 50 (limits.realism.mtld.at_least) over 1 conversations",
        "repeats": "repeats 0.5 is above 0.02 (limits.realism.repeats.at_most) over 1 conversations",
    }


def test_a_bound_is_within() -> None:
    assert judged(measured(REPEATING), limits(repeats={"at_least": 0.5, "at_most": 0.5})) == {"repeats": ""}


def test_nothing_is_judged_before_its_time() -> None:
    asked = limits(after=2, repeats={"at_most": 0})
    assert judged(measured(REPEATING), asked) == {}
    assert list(judged(measured(REPEATING, REPEATING), asked)) == ["repeats"]


def test_a_figure_without_a_value_is_not_judged() -> None:
    assert judged(measured(()), limits(repeats={"at_least": 1}, rounds={"at_least": 1})) == {
        "rounds": "rounds 0 is below 1 (limits.realism.rounds.at_least) over 1 conversations"
    }


BOUND = st.none() | st.floats(0, 1)


@given(
    st.lists(st.lists(st.sampled_from(["why?", "tell me a story", "I hope this helps"]), max_size=4), max_size=4),
    st.dictionaries(st.sampled_from(FIGURES), st.tuples(BOUND, BOUND)),
    st.integers(1, 4),
    st.sampled_from(OutOfBounds),
)
def test_judged_is_what_has_bounds_and_wrong_what_is_beyond_them(
    talks: list[list[str]],
    bounds: dict[str, tuple[float | None, float | None]],
    after: int,
    then: OutOfBounds,
) -> None:
    given = {
        figure: Bounds(at_least=least, at_most=most).model_dump()
        for figure, (least, most) in bounds.items()
        if least is None or most is None or least <= most
    }
    realism = measured(*map(tuple, talks))
    figures = realism.figures()
    expected = {
        figure: (bound["at_least"] is not None and figures[figure] < bound["at_least"])
        or (bound["at_most"] is not None and figures[figure] > bound["at_most"])
        for figure, bound in given.items()
        if figure in figures and realism.conversations >= after
    }
    report = report_of(realism, limits(after, then.value, **given))
    found = {} if report is None else {figure: bool(wrong) for figure, wrong in report.judged.items()}
    assert found == expected


# as the script takes it, and as Redis gives it back


def test_a_report_as_the_script_takes_it() -> None:
    report = RealismReport(3, {"rounds": 1.5}, {"rounds": "", "mtld": "dull"}, OutOfBounds.CANCEL)
    conversations, kept, *rest = report.arguments()
    assert (conversations, rest) == (3, ["cancel", 2, "rounds", "", "mtld", "dull"])
    assert isinstance(kept, bytes)
    assert orjson.loads(kept) == {"conversations": 3, "figures": {"rounds": 1.5}}
    assert len(NO_REPORT) == len(list(RealismReport(0, {}).arguments()))


def test_what_was_never_told_is_not_known() -> None:
    assert realism_of({}) is None
    assert realism_of(dict.fromkeys(REALISM_FIELDS)) is None


@given(st.dictionaries(st.sampled_from(FIGURES), st.floats(0, 1e12)), st.sets(st.sampled_from(FIGURES)))
def test_figures_come_back_to_the_last_bit(figures: dict[str, float], outside: set[str]) -> None:
    _, kept, *_ = RealismReport(7, figures).arguments()
    fields: dict[str, str | None] = dict.fromkeys(REALISM_FIELDS)
    fields |= {"realism": bytes(kept).decode()} if isinstance(kept, bytes) else {}
    fields |= {f"outside:{figure}": f"{figure} is wrong" for figure in outside}
    read = realism_of(fields)
    assert read is not None
    assert (read.conversations, read.figures) == (7, figures)
    assert read.out_of_bounds == {figure: f"{figure} is wrong" for figure in outside}
