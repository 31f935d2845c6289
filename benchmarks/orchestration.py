"""What the queue costs: conversations through API, Redis and one worker, against the same conversations in a bare loop.

Both talk to the same fake engines, which answer after a fixed time; the bare loop records nothing and survives nothing.

    python -m benchmarks.orchestration [--conversations 400] [--in-flight 200] [--latency 0.05]
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import Annotated

import typer

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PLATOLM, SOCRATIC
from platolm.endings import ending_of
from platolm.runs import Endings, RunSpec, Sampling, Seed, sampling_seed
from platolm.speakers import EngineClient, TokenSpeaker, engine_session
from platolm.tokenizer import load_tokenizer
from services.orchestrator.conversations.state import ConversationState
from tests.fakes.engine import FakeEngine
from tests.fakes.tokenizer import save_byte_tokenizer
from tests.integration.orchestrator.processes import api_of, api_process, worker_process
from tests.redis_server import RedisServer

MAX_TURNS = 8


def main(
    conversations: Annotated[int, typer.Option(min=1)] = 400,
    in_flight: Annotated[int, typer.Option(min=1, help="conversations at a time")] = 200,
    latency: Annotated[float, typer.Option(min=0, help="seconds that an engine takes for an utterance")] = 0.05,
) -> None:
    """Print utterances/s of both and their ratio."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer = save_byte_tokenizer(folder / "tokenizer")
        simulator, respondent = (FakeEngine(tokenizer, model, latency_s=latency) for model in ("socratic", "platolm"))
        with simulator.running(), respondent.running():
            bare = asyncio.run(bare_loop(simulator, respondent, conversations, in_flight))
            queued = through_the_queue(folder, simulator, respondent, conversations, in_flight)
    print(f"bare loop          {bare:8.1f} utterances/s")
    print(f"API, Redis, worker {queued:8.1f} utterances/s")
    print(f"ratio              {queued / bare:8.3f}")


async def bare_loop(simulator: FakeEngine, respondent: FakeEngine, conversations: int, in_flight: int) -> float:
    """Utterances/s without any queue."""
    spec = RunSpec(conversations=conversations, endings=Endings(max_turns=MAX_TURNS))
    tokenizer = load_tokenizer(simulator.tokenizer_folder)
    sides = {p.target_role: TokenSpeaker(p, tokenizer, p.name, Sampling(), 1024) for p in (SOCRATIC, PLATOLM)}
    slots = asyncio.Semaphore(in_flight)
    utterances = 0
    started = time.monotonic()
    async with engine_session(timeout_s=60, limit=2 * in_flight) as session:
        engines = {USER: EngineClient(session, simulator.url), ASSISTANT: EngineClient(session, respondent.url)}

        async def converse(index: int) -> None:
            nonlocal utterances
            async with slots:
                state = ConversationState(f"bare-{index}", "bare", index, spec, Seed(), sides)
                while ending_of(state.turns, spec.endings) is None:
                    role, seed = state.next_role, sampling_seed(0, index, len(state.turns))
                    said = await sides[role].speak(engines[role], state.prompt(role), seed=seed)
                    state.add(state.generated_turn(role, said, seed))
                    utterances += 1

        async with asyncio.TaskGroup() as group:
            for index in range(conversations):
                group.create_task(converse(index))
    return utterances / (time.monotonic() - started)


def through_the_queue(
    folder: Path, simulator: FakeEngine, respondent: FakeEngine, conversations: int, in_flight: int
) -> float:
    """Utterances/s of a run, from its submission to its last commit."""
    redis = RedisServer(folder / "redis")
    redis.start()
    api = api_process(folder, redis.url).start()
    worker = worker_process(folder, redis.url, simulator.url, respondent.url, max_in_flight=in_flight).start()
    try:
        client = api_of(api)
        started = time.monotonic()
        spec = {"conversations": conversations, "endings": {"max_turns": MAX_TURNS}}
        progress = client.wait_completed(client.submit({"spec": spec}).json()["id"], timeout_s=600)
        return float(progress["utterances"]) / (time.monotonic() - started)
    finally:
        worker.end()
        api.end()
        redis.stop()


if __name__ == "__main__":
    typer.run(main)
