"""The statistics page: alone on a file, readable wide and narrow, light and dark, and safe with any text."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from curation.stats.measuring import StatsSettings
from tests.browser.accessibility import serious_violations
from tests.browser.chromium import NARROW, WIDE, Theme, watched
from tests.browser.statistics_page import write_page, write_records
from tests.browser.test_every_page import sideways
from tests.unit.curation.stats.records import record, varied

LOOKS = [pytest.param("light", WIDE, id="light-wide"), pytest.param("dark", NARROW, id="dark-narrow")]
HOSTILE = "<img src=x onerror=alert(1)><script>alert(2)<∕script>\"'&" + "a-name-without-any-place-to-break-" * 3
SMALLEST_PX = 10

TEXT_BOXES = """() => [...document.querySelectorAll("svg")].flatMap((svg, picture) =>
  [...svg.querySelectorAll("text")].map((text) => {
    const { left, top, right, bottom } = text.getBoundingClientRect();
    const size = parseFloat(getComputedStyle(text).fontSize) * text.getScreenCTM().a;
    const frame = svg.getBoundingClientRect();
    return { picture, said: text.textContent, left, top, right, bottom, size, from: frame.left, to: frame.right };
  }))"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("statistics")
    one = [varied(number) for number in range(60)]
    other = [
        record(str(number), f"{HOSTILE} {number}", "so", "more?", "yes", termination_reason=HOSTILE)
        for number in range(40)
    ]
    datasets = [write_records(folder / "mine.jsonl", one), write_records(folder / f"{HOSTILE}.jsonl", other)]
    return write_page(datasets, folder, StatsSettings(processes=1, sample=50))


@pytest.mark.parametrize(("theme", "width"), LOOKS)
def test_the_page(browser: Browser, page_file: Path, theme: Theme, width: int) -> None:
    with watched(browser, page_file.parent.as_uri(), width=width, theme=theme) as tab:
        page = tab.open(f"/{page_file.name}")
        expect(page).to_have_title("Statistics of mine.jsonl")
        expect(page.locator("h1")).to_have_count(1)
        expect(page.locator("svg").first).to_be_visible()
        for numbers in page.locator("summary").all():
            numbers.click()
        assert sideways(page) == []
        assert serious_violations(page) == []
        check_texts(page)
        expect(page.get_by_text("<img src=x onerror").first).to_be_attached()
    assert tab.faults == []


def check_texts(page: Page) -> None:
    """Every label of a picture is large enough, within its picture, and on no other label."""
    boxes = page.evaluate(TEXT_BOXES)
    assert len(boxes) > 100
    assert [box["said"] for box in boxes if box["size"] < SMALLEST_PX] == []
    assert [box["said"] for box in boxes if box["left"] < box["from"] - 1 or box["right"] > box["to"] + 1] == []
    covered = [
        (one["said"], other["said"])
        for number, one in enumerate(boxes)
        for other in boxes[number + 1 :]
        if one["picture"] == other["picture"]
        and min(one["right"], other["right"]) - max(one["left"], other["left"]) > 1
        and min(one["bottom"], other["bottom"]) - max(one["top"], other["top"]) > 3
    ]
    assert covered == []
