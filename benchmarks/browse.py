"""What it takes to browse a million records that nobody loads: pages, a filter, a search through all of them.

The records are small (two rounds, about 1.5 kB as JSON), in segments of 512, made in a temporary folder by a process of
its own. Then, as the API does it, in this process:

*First page*: of a dataset that was not looked at before, so that the whole manifest is read. *A page at 90 %*: by its
position. *A rare ending*: all records that ended as one in 100,000 did. *Search*: for a text that is nowhere, request
after request, in a thread beside an event loop; how late the loop's timers are meanwhile is told too. *Memory*: the
most that this process took, beyond what it began with.

    python -m benchmarks.browse [--records 1000000] [--json FILE]
"""

from __future__ import annotations

import asyncio
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import orjson
import psutil
import typer

from benchmarks.results import JsonFile, Result, measured, report
from platolm.browse_api import DEFAULT_RECORDS, RecordPage
from platolm.conversation import ASSISTANT, USER, TerminationReason
from platolm.dataset import MANIFEST_FOLDER, RUN_FILE, SEGMENTS_FOLDER, ConversationRecord, SideRecord, TurnRecord
from platolm.runs import conversation_id
from platolm.sampling import PAPERS_SAMPLING, Sampling
from platolm.storage import open_place
from services.orchestrator.browse.histograms import histograms
from services.orchestrator.browse.search import Search, Wanted
from services.orchestrator.datasets.dataset_writer import DatasetWriter, summary_of
from services.orchestrator.datasets.run_place import RunPlace

NAME = "browse"
PAGE_CEILING_S = 1.0
MEMORY_CEILING_MB = 100.0

MB = 10**6
SEGMENT_RECORDS = 512
RARE_EVERY = 100_000
RARE, COMMON = TerminationReason.REPETITION, TerminationReason.TURN_LIMIT
NOWHERE = "a text that nobody wrote"
TICK_S = 0.005
IDLE_S = 2.0

QUESTION = "How do I keep a basil plant alive over the winter — it loses leaves every day? This is number %d."
ANSWER = "Give it light, water it from below, and don’t let it stand in a draught. " * 3


def main(
    records: Annotated[int, typer.Option(min=1, help="In the dataset.")] = 1_000_000,
    json: JsonFile = None,
) -> None:
    """Measure pages, a filter, a search through all records, and the memory that they take."""
    with tempfile.TemporaryDirectory() as name:
        making = multiprocessing.get_context("spawn").Process(target=make_dataset, args=(Path(name), records))
        making.start()
        making.join()
        if making.exitcode != 0:
            raise typer.Exit(1)
        results = browsed(Path(name), records)
    report([*results, summarising()], json)


def browsed(folder: Path, records: int) -> list[Result]:
    """All figures of one dataset."""
    process = psutil.Process()
    before = process.memory_info().rss
    place = RunPlace(open_place(folder), records, folder / "unused")
    first_s, first = timed(place, Wanted(), 0)
    far_s, far = timed(place, Wanted(), records * 9 // 10)
    assert (first.total, far.records[0].position) == (records, records * 9 // 10)
    rare_s, num_rare = through(place, Wanted(ending=RARE.value))
    assert num_rare == len(range(0, records, RARE_EVERY))
    began = time.perf_counter()
    assert histograms(place).conversations == records
    counted_s = time.perf_counter() - began
    idle = asyncio.run(idle_loop())
    search_s, lateness = asyncio.run(beside_a_loop(place, Wanted(text=NOWHERE)))
    peak_mb = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / MB
    return [
        page_result(f"first page of {records:,} records, manifest read", first_s, {"records": DEFAULT_RECORDS}),
        page_result("page at 90 % of them", far_s, {"records": DEFAULT_RECORDS}),
        page_result("all records of a rare ending", rare_s, {"records": num_rare, "histograms, s": counted_s}),
        measured(
            NAME,
            "searched for a text that is nowhere",
            records / search_s,
            "records/s",
            details={
                "all of them, s": search_s,
                "requests": len(lateness.requests_s),
                "longest request, s": max(lateness.requests_s),
                "the loop's timers late, 99 % by less than, ms": lateness.percentile(99) * 1000,
                "without a search, ms": idle.percentile(99) * 1000,
            },
        ),
        measured(
            NAME, "memory of all that", peak_mb, "MB", floor=MEMORY_CEILING_MB, higher_is_better=False,
        ),
    ]  # fmt: skip


def page_result(name: str, seconds: float, details: dict[str, float | int]) -> Result:
    return measured(NAME, name, seconds, "s", floor=PAGE_CEILING_S, higher_is_better=False, details=dict(details))


def timed(place: RunPlace, wanted: Wanted, start: int) -> tuple[float, RecordPage]:
    """One request."""
    began = time.perf_counter()
    page = Search(place, wanted).page(start, DEFAULT_RECORDS)
    return time.perf_counter() - began, page


def through(place: RunPlace, wanted: Wanted) -> tuple[float, int]:
    """Request after request to the end: seconds, and records found."""
    began, found, at = time.perf_counter(), 0, 0
    while True:
        page = Search(place, wanted).page(at, DEFAULT_RECORDS)
        found += len(page.records)
        if page.next_cursor is None:
            return time.perf_counter() - began, found
        at = int(page.next_cursor)


class Lateness:
    """How long requests took, and how late a loop's timers were beside them."""

    def __init__(self) -> None:
        self.requests_s: list[float] = []
        self.timers_s: list[float] = []

    def percentile(self, percent: int) -> float:
        ordered = sorted(self.timers_s)
        return ordered[max(0, len(ordered) * percent // 100 - 1)]

    async def tick(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(TICK_S)
            self.timers_s.append(time.perf_counter() - began - TICK_S)


async def idle_loop() -> Lateness:
    """Timers of a loop that has nothing else to do."""
    lateness = Lateness()
    ticking = asyncio.create_task(lateness.tick())
    await asyncio.sleep(IDLE_S)
    ticking.cancel()
    return lateness


async def beside_a_loop(place: RunPlace, wanted: Wanted) -> tuple[float, Lateness]:
    """A search to the end, in a thread as in the API."""
    lateness, at = Lateness(), 0
    ticking = asyncio.create_task(lateness.tick())
    while True:
        seconds, page = await asyncio.to_thread(timed, place, wanted, at)
        assert not page.records
        lateness.requests_s.append(seconds)
        if page.next_cursor is None:
            ticking.cancel()
            return sum(lateness.requests_s), lateness
        at = int(page.next_cursor)


def summarising() -> Result:
    """What the writer's summary of a segment costs."""
    records = list(made_records(SEGMENT_RECORDS))
    size = sum(map(len, records))
    times = []
    for _ in range(10):
        began = time.perf_counter()
        assert summary_of(records) is not None
        times.append(time.perf_counter() - began)
    milliseconds = sorted(times)[5] * 1000
    name = f"summary of a segment of {SEGMENT_RECORDS}"
    return measured(NAME, name, milliseconds, "ms", details={"JSON, kB": size / 1000})


def make_dataset(folder: Path, records: int) -> None:
    """A dataset as the writer makes it."""
    place = open_place(folder)
    place.make(SEGMENTS_FOLDER, MANIFEST_FOLDER)
    place.write(RUN_FILE, [b"{}"])
    writer = DatasetWriter(place, conversations=records)
    made = enumerate(made_records(records))
    while batch := dict(islice(made, SEGMENT_RECORDS)):
        writer.commit(batch)


def made_records(count: int) -> Iterator[str]:
    """Records that differ in number and ending."""
    run_id = "run-browse"
    head, _, tail = template(run_id).partition("@index@")
    for index in range(count):
        ending = RARE if index % RARE_EVERY == 0 else COMMON
        middle = f'"index":{index},"id":"{conversation_id(run_id, index)}","termination_reason":"{ending.value}",'
        question = orjson.dumps([{"from": "human", "value": QUESTION % index}]).decode()[1:-1]
        yield head + middle + tail.replace('"@question@"', question)


def template(run_id: str) -> str:
    """A record as JSON, with `@index@` and `"@question@"` where records differ."""
    side = SideRecord(profile="p", model="m", sampling=Sampling(**PAPERS_SAMPLING).model_dump())
    turns = [
        TurnRecord(role=role, num_tokens=40, finish_reason="stop", sampling_seed=7, token_ids=list(range(100, 140)))
        for role in (USER, ASSISTANT) * 2
    ]
    said = [{"from": name, "value": ANSWER} for name in ("gpt", "human", "gpt")]
    record = ConversationRecord(
        id="", run_id=run_id, index=0, conversations=said, num_rounds=2, termination_reason="", simulator=side,
        respondent=side, seed=0, seed_mode="free", turns=turns, started_at=1.0, finished_at=2.0,
    )  # fmt: skip
    fields = record.model_dump(exclude={"id", "index", "termination_reason"})
    text = orjson.dumps({**fields, "conversations": ["@question@", *said]}).decode()
    return "{@index@" + text[1:]


if __name__ == "__main__":
    typer.run(main)
