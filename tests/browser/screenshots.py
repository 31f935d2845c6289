"""Pictures of each page, light and dark, wide and narrow, of a stack with the demo models.

    python -m tests.browser.screenshots [--out docs/screenshots] [--api URL]

starts the stack, makes dialogues, writes PNG files, and stops the stack. With `--api` it takes one that is up.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Annotated, Any

import typer
from playwright.sync_api import Browser, Page, expect

from tests.browser.chromium import NARROW, WIDE, Theme, chromium, chromium_path, watched
from tests.browser.pages import cards, expect_connected, opened, turns
from tests.browser.pictures import small
from tests.browser.statistics_page import picture_page, write_page, write_records
from tests.integration.orchestrator.processes import Api, wait_until
from tests.local_stack import RunningStack

QUESTIONS = (
    "How do I keep a basil plant alive on a windowsill?",
    "What should I look at first when my bicycle makes a noise?",
    "Can you explain what a hash table is?",
    "What could I cook for four people with an hour's time?",
    "How does a sailing boat go against the wind?",
    "Which three books would you take on a long journey?",
)
SEARCHED = "you"


@dataclass(frozen=True)
class Made:
    """What the pages show."""

    finished: str
    going: str
    flying: str


@dataclass(frozen=True)
class Scene:
    """A page to be pictured: `prepare` brings it to where it shows something."""

    name: str
    path: str
    prepare: Callable[[Page], None]


def scenes(made: Made) -> list[Scene]:
    return [
        Scene("live", f"/?run={made.going}", _live),
        Scene("live-opened", f"/?run={made.going}&conversation={made.flying}", _opened),
        Scene("runs", "/runs", _shows("main a[href*='/runs/run-']")),
        Scene("new-run", "/runs/new", _shows("main form label:visible")),
        Scene("run", f"/runs/{made.going}", _charts),
        Scene("conversations", f"/runs/{made.finished}/conversations?q={SEARCHED}", _shows("main mark")),
        Scene("conversation", f"/conversations/{made.finished}-00000000", _shows("main .turn")),
        Scene("talk", "/talk", _talk),
        Scene("talks", "/talks", _shows("main h1")),
    ]


def take(browser: Browser, api_url: str, made: Made, folder: Path) -> Iterator[Path]:
    """Write every picture; gives its path as it is written."""
    folder.mkdir(parents=True, exist_ok=True)
    looks: list[tuple[Theme, int]] = [(theme, width) for width in (WIDE, NARROW) for theme in ("light", "dark")]
    for theme, width in looks:
        with watched(browser, api_url, width=width, theme=theme) as tab:
            for scene in scenes(made):
                page = tab.open(scene.path)
                scene.prepare(page)
                path = folder / f"{scene.name}-{theme}-{width}.png"
                path.write_bytes(small(page.screenshot(caret="hide")))
                page.close()
                yield path


@contextmanager
def dialogues(api: Api) -> Iterator[Made]:
    """A run in its dataset and one under way while entered."""
    seeds = [{"question": question} for question in QUESTIONS]
    finished = _submitted(api, "Everyday questions", 24, seeds, max_turns=6)
    api.wait_completed(finished, timeout_s=300)
    going = _submitted(api, "A long evening", 100_000, seeds, max_turns=24)
    try:
        wait_until(lambda: api.run(going)["utterances"] >= 60, what="a run under way", timeout_s=120)
        yield Made(finished, going, f"{going}-{_latest(api, going):08d}")
    finally:
        api.act(going, "cancel")


def _submitted(api: Api, name: str, conversations: int, seeds: list[dict[str, str]], max_turns: int) -> str:
    endings = {"max_turns": max_turns, "user_ended": False, "repetition": False, "empty": False}
    spec: dict[str, Any] = {"name": name, "conversations": conversations, "seed_mode": "question", "endings": endings}
    response = api.submit({"spec": {**spec, "limits": {"in_flight": 12}}, "seeds": seeds})
    assert response.status_code == 201, response.text
    return str(response.json()["id"])


def _latest(api: Api, run_id: str) -> int:
    """Index of the conversation that began last: it is in flight for the longest time from now on."""
    progress = api.run(run_id)
    return int(progress["finished"] + progress["in_flight"] - 1)


def _shows(selector: str) -> Callable[[Page], None]:
    def prepare(page: Page) -> None:
        expect(page.locator(selector).first).to_be_visible()
        page.wait_for_function("document.querySelectorAll('[aria-busy=true]').length === 0")

    return prepare


def _live(page: Page) -> None:
    expect_connected(page)
    expect(cards(page).nth(3)).to_be_attached()
    expect(turns(page).nth(8)).to_be_attached()


def _opened(page: Page) -> None:
    _live(page)
    expect(turns(opened(page)).first).to_be_visible()


def _charts(page: Page) -> None:
    _shows("main .badge")(page)
    page.wait_for_timeout(5_000)  # two samples more, so that lines are lines


def _talk(page: Page) -> None:
    page.get_by_label("Message").fill(QUESTIONS[0])
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("button", name="Regenerate")).to_be_visible()
    expect(turns(page)).to_have_count(2)
    save = page.get_by_role("button", name="Save", exact=True)
    save.click()
    expect(page.get_by_role("link", name=re.compile("^talks-"))).to_be_visible()


def _statistics(browser: Browser, api: Api, made: Made, folder: Path) -> Iterator[Path]:
    """Pictures of the finished run's statistics."""
    with tempfile.TemporaryDirectory() as name:
        data = write_records(Path(name) / "everyday-questions.jsonl", api.dataset(made.finished))
        yield from picture_page(browser, write_page([data], Path(name)), folder)


@contextmanager
def _stack(api_url: str | None) -> Iterator[str]:
    """Address of an API."""
    if api_url is not None:
        yield api_url.rstrip("/")
        return
    with tempfile.TemporaryDirectory() as folder:
        stack = RunningStack(Path(folder))
        try:
            stack.start()
            yield stack.api_url
        finally:
            stack.stop()


def main(
    out: Annotated[Path, typer.Option(help="Folder of the pictures.")] = Path("docs/screenshots"),
    api: Annotated[str | None, typer.Option(help="A stack that is up.")] = None,
) -> None:
    """Write a picture of each page."""
    if chromium_path() is None:
        typer.echo("there is no chromium: install Debian's package `chromium`", err=True)
        raise typer.Exit(1)
    with _stack(api) as url, dialogues(Api(url)) as made, chromium() as browser:
        for path in chain(take(browser, url, made, out), _statistics(browser, Api(url), made, out)):
            print(f"{path}  {path.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    typer.run(main)
