"""What the orchestrator itself costs: processor time an utterance, and the memory of thousands of conversations.

*Processor*: a run against an engine that answers at once. Answers ÷ processor seconds of worker and Redis together, in
windows of a run that is under way; the middle one of these. Two lengths of dialogue: the demo's, which the floor is
for, and one until a context of 2,048 tokens is full.

*Memory*: one worker with thousands of conversations, all waiting for an engine that takes seconds for each utterance,
until as many as are in flight at a time have ended. The figure is the most that the worker has had resident. Once with
lengths that lie evenly between a round and the full context, which the ceiling is for; once with the worst that there
is, all conversations growing side by side until the context is full.

    python -m benchmarks.overhead [--seconds 10] [--windows 3] [--in-flight 4096] [--latency 8] [--json FILE]
"""

from __future__ import annotations

import statistics
from typing import Annotated, Any

import typer

from benchmarks.loaded_stack import FEED_WINDOW, LoadedStack, Window, loaded_stack, peak_rss_mib, pid_of, questions
from benchmarks.results import JsonFile, Result, measured, report
from tests.fakes.load_engine import Load

NAME = "overhead"
RATE_FLOOR = 1500.0
MEMORY_CEILING_MIB = 300.0
CONTEXT_TOKENS = 2048

DEMO_TOKENS = 32
"""Mean of an utterance of `platolm demo`: 12,102 tokens in 384 utterances."""

LONG_TOKENS = 150
"""Of this mean, 13 utterances fill the context: the seven rounds that a dialogue of people with a model has."""

DEMO_TURNS = 12
SLOTS = 256
WARM_UP_ANSWERS = 4000
ENDLESS = 1_000_000
"""Conversations of a run that is not waited for."""

ALMOST_ALL = 0.99


def main(
    seconds: Annotated[float, typer.Option(min=1, help="Of a window.")] = 10.0,
    windows: Annotated[int, typer.Option(min=1, help="Of which the middle one counts.")] = 3,
    in_flight: Annotated[int, typer.Option(min=1, help="Conversations at a time, for the memory.")] = 4096,
    latency: Annotated[float, typer.Option(min=0, help="Seconds of an utterance, for the memory.")] = 8.0,
    json: JsonFile = None,
) -> None:
    """Measure utterances/s a core, worker and Redis included, and a worker's peak of memory."""
    results = [
        processor("utterances/s a core, worker and Redis", seconds, windows, DEMO_TOKENS, DEMO_TURNS, RATE_FLOOR),
        processor("the same, dialogues that fill 2,048 tokens", seconds, windows, LONG_TOKENS, None, None),
        memory(
            f"memory of a worker with {in_flight:,} conversations",
            in_flight,
            latency,
            ends_below=CONTEXT_TOKENS,
            ceiling=MEMORY_CEILING_MIB,
        ),
        memory("the same, all of them filling 2,048 tokens at a time", in_flight, latency, ends_below=0, ceiling=None),
    ]
    report(results, json)


def processor(
    name: str, seconds: float, windows: int, tokens: int, max_turns: int | None, floor: float | None
) -> Result:
    """Utterances a processor second of worker and Redis."""
    with loaded_stack(Load(tokens=tokens, max_model_len=CONTEXT_TOKENS), max_in_flight=SLOTS) as stack:
        run_id = stack.submit({"spec": spec(ENDLESS, max_turns)})
        stack.wait_answered(WARM_UP_ANSWERS)
        seen = [stack.window(seconds) for _ in range(windows)]
        stack.check(run_id)
    middle = sorted(seen, key=per_core)[len(seen) // 2]
    return measured(
        NAME,
        name,
        per_core(middle),
        "1/s",
        floor=floor,
        details={
            "wall, 1/s": middle.utterances_per_s,
            "worker, cores": middle.cores("worker"),
            "Redis, cores": middle.cores("redis"),
            "API and writer besides, cores": middle.cores("api", "writer"),
            "the fake engine besides, cores": middle.cores("engine"),
            "tokens of a prompt": middle.prompt_tokens / middle.utterances,
            "tokens of an utterance": middle.generated_tokens / middle.utterances,
            "windows from": min(per_core(window) for window in seen),
            "windows to": max(per_core(window) for window in seen),
        },
    )


def memory(name: str, in_flight: int, latency_s: float, *, ends_below: int, ceiling: float | None) -> Result:
    """Peak of a worker's resident memory with all of `in_flight` conversations waiting for the engine.

    `ends_below` is the tokens of the longest conversation of mixed ones; 0: all of them fill the context.
    """
    load = Load(
        tokens=LONG_TOKENS, latency_s=latency_s, ends_below=ends_below, max_model_len=CONTEXT_TOKENS + LONG_TOKENS
    )
    with loaded_stack(load, max_in_flight=in_flight, feed_window=max(FEED_WINDOW, 2 * in_flight)) as stack:
        idle_mib = peak_rss_mib(pid_of(stack.workers[0]))
        start = stack.engine.snapshot()
        run_id = stack.submit(
            {"spec": {**spec(ENDLESS, None), "seed_mode": "question"}, "seeds": questions(2 * in_flight)}
        )
        wait_for_a_generation(stack, run_id, in_flight, latency_s)
        end = stack.engine.snapshot()
        stack.check(run_id)
        peak_mib = peak_rss_mib(pid_of(stack.workers[0]))
    seconds_at = end.seconds_at(start)
    most = max(seconds_at)
    assert most >= ALMOST_ALL * in_flight, f"only {most} of {in_flight} conversations were in flight: raise --latency"
    return measured(
        NAME,
        name,
        peak_mib,
        "MiB",
        floor=ceiling,
        higher_is_better=False,
        details={
            "most requests in flight": most,
            "on average": statistics.fmean(seconds_at, weights=seconds_at.values()),
            "tokens of a prompt": (end.prompt_tokens - start.prompt_tokens) / (end.answered - start.answered),
            "worker before, MiB": idle_mib,
            "KiB a conversation": (peak_mib - idle_mib) * 1024 / in_flight,
        },
    )


def wait_for_a_generation(stack: LoadedStack, run_id: str, in_flight: int, latency_s: float) -> None:
    """Until as many conversations have ended as are in flight at a time."""
    utterances = 2 * CONTEXT_TOKENS / LONG_TOKENS
    stack.wait(
        lambda: bool(stack.progress(run_id)["finished"] >= in_flight),
        what="a generation of conversations",
        timeout_s=120 + 4 * utterances * max(latency_s, in_flight / RATE_FLOOR),
    )


def per_core(window: Window) -> float:
    """Utterances a processor second of worker and Redis."""
    return window.utterances_per_s / window.cores("worker", "redis")


def spec(conversations: int, max_turns: int | None) -> dict[str, Any]:
    return {
        "conversations": conversations,
        "endings": {"max_turns": max_turns, "context_tokens": CONTEXT_TOKENS},
    }


if __name__ == "__main__":
    typer.run(main)
