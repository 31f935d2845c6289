"""What the dashboard costs its users and the orchestrator: first paint, a fast wall, many viewers, the run itself.

*First paint*: each page opened anew (empty cache) in Chromium, while a run goes on at some 200 utterances a second on
the same cores; by the browser's own paint timing. The figure is the slowest page's middle one.

*Wall*: 1,000 utterances a second on the live wall; the longest gap between two animation frames.

*Viewers*: the API's processor time with 50 streams of the wall open while a run goes on at 200 utterances a second.

*Viewing*: utterances a second of a run with the wall and one conversation open, against none, in turn within one run.
The viewers here draw nothing: what a browser draws costs its own machine. `--api` takes the run of a stack that is up,
such as one of real engines, in the place of the fake ones.

    python -m benchmarks.dashboard [--only paint,wall,viewers,viewing] [--seconds 10] [--pairs 5] [--json FILE]
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Annotated, Any

import httpx
import typer
from playwright.sync_api import Browser, expect

from benchmarks.loaded_stack import LoadedStack, loaded_stack
from benchmarks.results import JsonFile, Result, measured, report
from benchmarks.viewers import viewing
from platolm.errors import InputError
from tests.browser.chromium import chromium, chromium_path, watched
from tests.browser.flood import Watch, flooding
from tests.fakes.load_engine import Load

NAME = "dashboard"
PAINT_CEILING_S = 1.0
GAP_CEILING_S = 0.25
"""A pause that people take for a jerk and not for a page that hangs."""

API_CEILING_CORES = 0.2
RATIO_FLOOR = 0.98

SLOTS = 64
LATENCY_S = 0.3
"""With `SLOTS` conversations in flight: some 200 utterances a second."""

STACK_IN_FLIGHT = 24
"""Of a stack that is up: few enough that real engines on few cores make an utterance within seconds."""

NUM_VIEWERS = 50
EVENTS_PER_S = 1000
ENDLESS = 1_000_000
MAX_TURNS = 12
WARM_UP_ANSWERS = 1000
PAINTS = 3
SETTLE_S = 2.0

_PAINTED = """() => new Promise((resolve) => {
  new PerformanceObserver((list, observer) => {
    const entry = list.getEntriesByName("first-contentful-paint")[0];
    if (entry) { observer.disconnect(); resolve(entry.startTime); }
  }).observe({ type: "paint", buffered: true });
})"""

PARTS = ("paint", "wall", "viewers", "viewing")


def main(
    only: Annotated[str, typer.Option(help="Which of paint, wall, viewers, viewing; commas between.")] = ",".join(
        PARTS
    ),
    seconds: Annotated[float, typer.Option(min=1, help="Of a window.")] = 10.0,
    pairs: Annotated[int, typer.Option(min=1, help="Windows with and without viewers.")] = 5,
    api: Annotated[str | None, typer.Option(help="A stack that is up, for `viewing`; default: one of its own.")] = None,
    json: JsonFile = None,
) -> None:
    """Measure first paint, a fast wall, the price of viewers, and what viewing does to a run."""
    wanted = only.split(",")
    results: list[Result] = []
    try:
        if {"paint", "wall"} & set(wanted):
            _require_chromium()
        for name, measure in _measures(seconds, pairs, api).items():
            if name in wanted:
                results += measure()
    except InputError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    report(results, json)


def _measures(seconds: float, pairs: int, api: str | None) -> dict[str, Callable[[], list[Result]]]:
    return {
        "paint": lambda: [first_paint()],
        "wall": lambda: wall(seconds),
        "viewers": lambda: [viewers(seconds)],
        "viewing": lambda: [viewing_ratio(seconds, pairs) if api is None else viewing_of(api, seconds, pairs)],
    }


def first_paint() -> Result:
    """Seconds to the first contentful paint, a page after the other."""
    with loaded_stack(Load(latency_s=LATENCY_S), max_in_flight=SLOTS) as stack, chromium() as browser:
        run_id = start(stack)
        done = stack.submit({"spec": {"conversations": 200, "endings": {"max_turns": 2}}})
        stack.wait(lambda: bool(stack.progress(done)["state"] == "completed"), what="a dataset", timeout_s=120)
        paths = {
            "live": "/",
            "runs": "/runs",
            "new run": "/runs/new",
            "run": f"/runs/{run_id}",
            "conversations": f"/runs/{done}/conversations",
            "conversation": f"/conversations/{done}-00000000",
            "talk": "/talk",
            "saved talks": "/talks",
        }
        painted = {name: paint_s(browser, stack.api_url, path) for name, path in paths.items()}
        going = stack.window(SETTLE_S)
    return measured(
        NAME,
        "first paint of the slowest page, a run going",
        max(painted.values()),
        "s",
        floor=PAINT_CEILING_S,
        higher_is_better=False,
        details={**{f"{name}, s": taken for name, taken in painted.items()}, "run, 1/s": going.utterances_per_s},
    )


def paint_s(browser: Browser, url: str, path: str) -> float:
    """The middle of `PAINTS`, each with an empty cache."""
    taken = []
    for _ in range(PAINTS):
        with watched(browser, url) as tab:
            taken.append(float(tab.open(path).evaluate(_PAINTED)) / 1000)
    return statistics.median(taken)


def wall(seconds: float) -> list[Result]:
    """How a page fares that shows 1,000 utterances a second."""
    with loaded_stack(Load(latency_s=600.0), max_in_flight=SLOTS) as stack, chromium() as browser:
        run_id = start(stack, warm_up=0)
        with watched(browser, stack.api_url) as tab:
            page = tab.open(f"/?run={run_id}")
            page.wait_for_timeout(1000 * SETTLE_S)
            watch = Watch(page)
            with flooding(stack.redis_server.url, run_id, rate_per_s=EVENTS_PER_S, seconds=seconds) as published:
                page.wait_for_timeout(1000 * seconds)
            fared = watch.told()
            last = round(EVENTS_PER_S * seconds) - 1
            expect(page.get_by_text(f"Utterance {last}.").first).to_be_visible()
    return [
        measured(
            NAME,
            f"longest gap between frames at {EVENTS_PER_S:,} utterances/s",
            fared.longest_gap_ms / 1000,
            "s",
            floor=GAP_CEILING_S,
            higher_is_better=False,
            details={
                "frames/s": len(fared.gaps_ms) / (sum(fared.gaps_ms) / 1000),
                "middle gap, s": statistics.median(fared.gaps_ms) / 1000,
                "tasks over 50 ms": len(fared.long_tasks_ms),
                "longest task, s": max(fared.long_tasks_ms, default=0.0) / 1000,
                "changes of the page a frame": fared.changes / len(fared.gaps_ms),
                "utterances": published.published,
            },
        )
    ]


def viewers(seconds: float) -> Result:
    """The API's share of a core with many walls open."""
    with loaded_stack(Load(latency_s=LATENCY_S), max_in_flight=SLOTS) as stack:
        run_id = start(stack)
        alone = stack.window(seconds)
        with viewing(stack.api_url, ["/v1/live"] * NUM_VIEWERS) as seen:
            stack.wait(lambda: seen.num_connected == NUM_VIEWERS, what="viewers connected", timeout_s=30)
            time.sleep(SETTLE_S)
            before = seen.events["turn"]
            window = stack.window(seconds)
            heard = seen.events["turn"] - before
        stack.check(run_id)
    return measured(
        NAME,
        f"the API's share of a core with {NUM_VIEWERS} walls open",
        window.cores("api"),
        "cores",
        floor=API_CEILING_CORES,
        higher_is_better=False,
        details={
            "utterances/s": window.utterances_per_s,
            "heard by a viewer, 1/s": heard / NUM_VIEWERS / window.seconds,
            "without viewers, cores": alone.cores("api"),
            "Redis, cores": window.cores("redis"),
        },
    )


def viewing_ratio(seconds: float, pairs: int) -> Result:
    """A run's throughput with viewers against without, before engines that take their time."""
    with loaded_stack(Load(latency_s=LATENCY_S), max_in_flight=SLOTS) as stack:
        run_id = start(stack)
        result = compared(stack.api_url, run_id, seconds, pairs, "fake engines")
        stack.check(run_id)
    return result


def viewing_of(api_url: str, seconds: float, pairs: int) -> Result:
    """The same on a stack that is up; its run is cancelled in the end."""
    spec = {"conversations": ENDLESS, "endings": {"max_turns": MAX_TURNS}, "limits": {"in_flight": STACK_IN_FLIGHT}}
    response = httpx.post(f"{api_url}/v1/runs", json={"spec": spec}, timeout=60)
    if response.is_error:
        raise InputError(f"{api_url} refused the run: {response.text[:300]}")
    run_id = str(response.json()["id"])
    try:
        time.sleep(2 * seconds)
        return compared(api_url, run_id, seconds, pairs, "engines of a stack that is up")
    finally:
        httpx.post(f"{api_url}/v1/runs/{run_id}/cancel", timeout=60)


def compared(api_url: str, run_id: str, seconds: float, pairs: int, engines: str) -> Result:
    """Windows of one run in turn, the order changing from pair to pair."""
    ratios, rates = [], []
    for number in range(pairs):
        rate: dict[bool, float] = {}
        for is_viewed in (False, True) if number % 2 == 0 else (True, False):
            rate[is_viewed] = tokens_per_s(api_url, run_id, seconds, is_viewed=is_viewed)
        ratios.append(rate[True] / rate[False])
        rates.append(rate[False])
    return measured(
        NAME,
        f"throughput with the wall and a conversation open ÷ without, {engines}",
        statistics.median(ratios),
        floor=RATIO_FLOOR,
        details={
            "pairs": pairs,
            "seconds of a window": seconds,
            "lowest ratio": min(ratios),
            "highest ratio": max(ratios),
            "without, tokens/s": statistics.median(rates),
        },
    )


def tokens_per_s(api_url: str, run_id: str, seconds: float, *, is_viewed: bool) -> float:
    """Generated tokens a second in one window."""
    if not is_viewed:
        return _rate(api_url, run_id, seconds)
    with viewing(api_url, ["/v1/live"], watched_run=run_id) as seen:
        rate = _rate(api_url, run_id, seconds)
    assert seen.events["partial"] > 0, "no conversation was streamed"
    return rate


def _rate(api_url: str, run_id: str, seconds: float) -> float:
    time.sleep(SETTLE_S)
    before, started = _generated(api_url, run_id), time.monotonic()
    time.sleep(seconds)
    return (_generated(api_url, run_id) - before) / (time.monotonic() - started)


def _generated(api_url: str, run_id: str) -> int:
    response = httpx.get(f"{api_url}/v1/runs/{run_id}", timeout=60).raise_for_status()
    return int(response.json()["generated_tokens"])


def start(stack: LoadedStack, warm_up: int = WARM_UP_ANSWERS) -> str:
    """An endless run under way; its id."""
    spec: dict[str, Any] = {"conversations": ENDLESS, "endings": {"max_turns": MAX_TURNS}}
    run_id = stack.submit({"spec": spec})
    if warm_up:
        stack.wait_answered(warm_up)
    else:
        stack.wait(lambda: bool(stack.progress(run_id)["in_flight"]), what="conversations in flight", timeout_s=60)
    return run_id


def _require_chromium() -> None:
    if chromium_path() is None:
        raise InputError("no chromium on this system: install Debian's package `chromium`, or leave out paint and wall")


if __name__ == "__main__":
    typer.run(main)
