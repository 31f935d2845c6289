"""A run as the benchmarks make it, and its requests put together again from its dataset."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

from benchmarks.cores import share_cores
from benchmarks.full_stack import Shape, complete, orchestrator
from benchmarks.recorded import in_order, requests_of
from platolm.conversation import ASSISTANT, USER
from platolm.tokenizer import load_tokenizer
from tests.fakes.engine import FakeEngine

CONVERSATIONS, TURNS = 12, 6


async def test_the_dataset_tells_every_request(
    tmp_path: Path, simulator: FakeEngine, respondent: FakeEngine, byte_tokenizer_folder: Path
) -> None:
    urls = {USER: [simulator.url], ASSISTANT: [respondent.url]}
    shape = Shape(CONVERSATIONS, TURNS, max_tokens=64, context_tokens=1024)
    with orchestrator(tmp_path, urls, 4, share_cores(sorted(os.sched_getaffinity(0)))) as api:
        run = await complete(api, shape.spec())
    assert 0 < run.seconds <= run.committed_s

    tokenizer = load_tokenizer(byte_tokenizer_folder)
    records = in_order(run.records)
    told: dict[str, Counter[tuple[tuple[int, ...], int]]] = {USER: Counter(), ASSISTANT: Counter()}
    for record in records:
        for request in requests_of(record, {USER: tokenizer, ASSISTANT: tokenizer}):
            told[request.role][tuple(request.prompt), request.sampling_seed] += 1
    assert [record["index"] for record in records] == list(range(CONVERSATIONS))
    assert sum(told[USER].values()) == sum(told[ASSISTANT].values()) == CONVERSATIONS * TURNS // 2
    assert (told[USER], told[ASSISTANT]) == (simulator.requests, respondent.requests)
