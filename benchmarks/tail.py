"""How full the engines are kept to the very end: the share of wall time with less than half of the slots in use.

A run of conversations whose lengths lie evenly between a round and the full context, on one worker, before an engine
that takes a time for each token. A slot counts as in use while a request of it is with the engine; the engine itself
keeps for how long how many were. Wall time runs from the submission to the last answer, so filling the slots at the
beginning and emptying them at the end are both in it.

The figure is for a machine with nothing else to do: where the worker waits for a processor, its engine waits too. The
share by conversations that have begun and not ended, from the dataset's times, is reported beside it.

Some of it nobody can help: the lengths are not known beforehand, and the last conversations to begin still take their
time. What a worker without any delay would have with the same lengths is reported beside it.

    python -m benchmarks.tail [--conversations 2000] [--slots 64] [--token-latency 0.004] [--json FILE]
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from operator import itemgetter
from typing import Annotated, Any

import typer

from benchmarks.loaded_stack import loaded_stack, questions
from benchmarks.results import JsonFile, Result, measured, report
from tests.fakes.load_engine import Load

NAME = "tail"
CEILING = 0.05
CONTEXT_TOKENS = 2048
UTTERANCE_TOKENS = 64


def main(
    conversations: Annotated[int, typer.Option(min=1)] = 2000,
    slots: Annotated[int, typer.Option(min=2, help="Conversations at a time.")] = 64,
    token_latency: Annotated[float, typer.Option(min=0.0001, help="Seconds that a token takes.")] = 0.004,
    json: JsonFile = None,
) -> None:
    """Measure the share of wall time with less than half of the slots in use."""
    report([tail(conversations, slots, token_latency)], json)


def tail(conversations: int, slots: int, token_latency_s: float) -> Result:
    load = Load(
        tokens=UTTERANCE_TOKENS,
        token_latency_s=token_latency_s,
        ends_below=CONTEXT_TOKENS,
        max_model_len=2 * CONTEXT_TOKENS,
    )
    spec = {"conversations": conversations, "seed_mode": "question", "endings": {"context_tokens": CONTEXT_TOKENS}}
    with loaded_stack(load, max_in_flight=slots) as stack:
        start = stack.engine.snapshot()
        run_id = stack.submit({"spec": spec, "seeds": questions(conversations)})
        stack.wait(
            lambda: bool(stack.engine.snapshot().in_flight >= slots / 2), what="half of the slots in use", timeout_s=60
        )
        filling_s = stack.engine.snapshot().at - start.at
        longest_s = conversations * CONTEXT_TOKENS * token_latency_s / slots
        stack.wait(
            lambda: bool(stack.progress(run_id)["state"] == "completed"),
            what="the run completed",
            timeout_s=120 + 4 * longest_s,
        )
        end = stack.engine.snapshot()
        stack.check(run_id)
        records = sorted(stack.records(run_id), key=itemgetter("index"))  # as they began
    durations = [spoken_s(record) for record in records]
    seconds_at = end.seconds_at(start)
    seconds_at[0] -= end.at - end.last_answer_at
    share = share_below(seconds_at, slots / 2)
    return measured(
        NAME,
        "share of wall time with less than half of the slots in use",
        share,
        floor=CEILING,
        higher_is_better=False,
        details={
            "conversations": len(durations),
            "slots": slots,
            "wall, s": sum(seconds_at.values()),
            "by conversations begun and not ended": share_below(open_seconds(records), slots / 2),
            "without any delay": ideal_share(durations, slots),
            "submission until half were in use, s": filling_s,
            "shortest conversation, s": min(durations),
            "longest, s": max(durations),
            "slots in use on average": sum(n * spent for n, spent in seconds_at.items()) / sum(seconds_at.values()),
        },
    )


def share_below(seconds_at: Mapping[int, float], level: float) -> float:
    """Share of the time with fewer than `level` in flight."""
    return sum(spent for number, spent in seconds_at.items() if number < level) / sum(seconds_at.values())


def open_seconds(records: Iterable[Mapping[str, Any]]) -> dict[int, float]:
    """By number of conversations that have begun and not ended, the seconds from the first beginning to the last end.

    Between two utterances a conversation is open without a request at the engine: on a busy machine the two differ.
    """
    changes = sorted(
        change for record in records for change in ((record["started_at"], 1), (record["finished_at"], -1))
    )
    seconds: dict[int, float] = {}
    num_open = 0
    for (at, by), (next_at, _) in pairwise(changes):
        num_open += by
        seconds[num_open] = seconds.get(num_open, 0.0) + next_at - at
    return seconds


def ideal_share(durations: Sequence[float], slots: int) -> float:
    """Share of wall time with less than half of the slots in use, where each takes the next conversation at once."""
    free_at = [0.0] * slots
    for duration in durations:
        heapq.heappush(free_at, heapq.heappop(free_at) + duration)
    last_ends = sorted(free_at)
    half_empty_at = last_ends[slots // 2]
    return (last_ends[-1] - half_empty_at) / last_ends[-1]


def spoken_s(record: Mapping[str, Any]) -> float:
    """Seconds that a conversation waited for its speakers."""
    return sum(float(turn["duration_s"]) for turn in record["turns"])


if __name__ == "__main__":
    typer.run(main)
