"""The page and its plots: whole, self-contained, and safe with any name."""

from __future__ import annotations

import re
from pathlib import Path
from xml.etree.ElementTree import Element, fromstring

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curation.stats.figures import Statistics
from curation.stats.measures import BY_KEY
from curation.stats.measuring import StatsSettings, beside, measure
from curation.stats.page import page_of
from curation.stats.plots import Mark, Series, bars, intervals, shares_of, ticks
from curation.stats.table import cell_of, measure_table, notes_of, size_table
from tests.unit.curation.stats.records import record, varied, written


def words_in(picture: Element) -> list[str]:
    return [one.text or "" for one in picture.iter("text")]


HOSTILE = "</title><script>alert(1)</script><b>"


@pytest.fixture
def two(tmp_path: Path) -> list[Statistics]:
    """Statistics of two datasets, one of which has names that are HTML."""
    name = HOSTILE.replace("/", "\u2215")  # no path has a slash in it
    records = [record(str(number), f"how {number}", "so", termination_reason=HOSTILE) for number in range(5)]
    paths = [
        written(tmp_path / "first.jsonl", [varied(number) for number in range(20)] + ["{"]),
        written(tmp_path / f"{name}&.jsonl", records),
    ]
    one, other = (measure([path], StatsSettings(processes=1, sample=10)) for path in paths)
    return [beside(one, [other]), other.statistics]


def test_names_are_text(two: list[Statistics]) -> None:
    page = page_of(two)
    assert "<script" not in page
    assert "<b>" not in page
    assert "ended by &lt;/title&gt;&lt;script&gt;alert(1)&lt;/script&gt;&lt;b&gt;: 5 (100.0%)" in page
    assert page.count("&lt;b&gt;&amp;.jsonl") > 5
    assert page_of(two[::-1]).count("<title>Statistics of &lt;") == 1


def test_nothing_is_loaded_or_run(two: list[Statistics]) -> None:
    page = page_of(two)
    assert not re.search(r"<script|<link|<img|<iframe|@import|url\(|\son\w+=|https?://", page)
    assert "default-src 'none'" in page


def test_every_measured_figure_is_told_with_its_interval(two: list[Statistics]) -> None:
    page = page_of(two)
    for statistics in two:
        for key in ("rounds", "mtld", "first_turn_diversity", "repeats"):
            assert cell_of(BY_KEY[key], statistics.figures[key]) in page
    assert "SocraticChat" in page
    assert "94.01" in page


def test_both_schemes_have_every_colour(two: list[Statistics]) -> None:
    page = page_of(two)
    for name in ("--ground", "--sheet", "--ink", "--quiet", "--line", "--c0", "--c4", "--other"):
        assert len(re.findall(rf"{name}: #", page)) == 2


def test_bars_are_as_tall_as_their_shares() -> None:
    series = [Series("a <x>", [0.25, 0.75]), Series("b", [0.0, 0.5])]
    picture = fromstring(bars("Rounds", ["1", "2"], series, counted="conversations", unit="rounds"))
    found = [(rect.get("class"), float(rect.get("height") or "")) for rect in picture.iter("rect")]
    assert found == [("c0", 40.6), ("c1", 0), ("c0", 121.9), ("c1", 81.2)]  # of 130 for 0.8
    assert [title.text for title in picture.iter("title")] == [
        "a <x>, 1: 25.0%",
        "b, 1: 0.0%",
        "a <x>, 2: 75.0%",
        "b, 2: 50.0%",
    ]
    assert words_in(picture) == [
        "share of conversations, %", "0", "20", "40", "60", "80", "1", "2", "rounds",
    ]  # fmt: skip


def test_intervals_share_a_scale() -> None:
    marks = [Mark("a", "5", 5, 0, 10, 0), Mark("b (published)", "2.5", 2.5)]
    picture = fromstring(intervals("MTLD", marks, unit="words"))
    assert [(one.get("class"), float(one.get("cx") or "")) for one in picture.iter("circle")] == [
        ("c0", 170),
        ("other", 90),
    ]
    ranges = [one for one in picture.iter("line") if one.get("class") == "c0 range"]
    assert [(one.get("x1"), one.get("x2")) for one in ranges] == [("10", "330")]
    assert words_in(picture) == ["0", "5", "10", "words", "a", "5", "b (published)", "2.5"]
    assert picture.get("aria-label") == "MTLD: a 5; b (published) 2.5"


@pytest.mark.parametrize("value", [0.0, 3.0, -3.0, 1e-9])
def test_equal_figures_are_drawn_too(value: float) -> None:
    picture = fromstring(intervals("same", [Mark("a", "so", value, value, value, 0)], unit="words"))
    (dot,) = picture.iter("circle")
    assert 10 <= float(dot.get("cx") or "") <= 330


def test_a_long_name_leaves_room_for_its_figure() -> None:
    picture = fromstring(intervals("x", [Mark("n" * 90, "12.34 (11.00…13.00)", 12.34)], unit="words"))
    assert "n" * 30 + "…" in words_in(picture)


@settings(deadline=None)
@given(st.floats(-1e9, 1e9), st.floats(-1e9, 1e9))
def test_a_scale_is_round_and_holds_everything(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    scale = ticks(low, high)
    slack = 1e-6 * max(abs(low), abs(high), 1e-3)
    assert 2 <= len(scale) <= 7
    assert scale[0] <= low + slack
    assert scale[-1] >= high - slack


def test_scales_of_usual_figures() -> None:
    assert ticks(0, 0.32) == [0, 0.1, 0.2, 0.3, 0.4]
    assert ticks(36.2, 94.6) == [20, 40, 60, 80, 100]
    assert ticks(5, 5) == [0, 2, 4, 6]
    assert ticks(0, 0) == [0, 0.5, 1]


def test_shares_are_by_upper_bounds_and_the_last_takes_the_rest() -> None:
    assert shares_of({1: 1, 2: 1, 4: 1, 1000: 1}, (1, 4, 8)) == [0.25, 0.5, 0.25]
    assert shares_of({}, (1, 2)) == [0, 0]


def test_tables_have_a_row_a_dataset_and_a_row_a_measure(two: list[Statistics]) -> None:
    assert size_table(two).row_count == 2 + 7
    table = measure_table(two)
    assert len(table.columns) == 1 + 2 + 3
    titles = list(table.columns[0].cells)
    assert "MTLD a question" in titles
    assert "human-likeness, %" not in titles


def test_notes_tell_what_was_left_out_sampled_and_lacking(two: list[Statistics]) -> None:
    notes = "\n".join(notes_of(two[0]))
    assert "1 records left out: not JSON" in notes
    assert "over a sample of 10 conversations (seed 125): first-turn diversity, %" in notes
    assert "not measured: human-likeness, %: give --human-classifier" in notes
    assert "differ from <" in notes
    assert "tokenizer: counts in the records" in notes
