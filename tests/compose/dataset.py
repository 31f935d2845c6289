"""What a run's dataset has to be, whatever happened to the containers meanwhile."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from platolm.conversation import ASSISTANT, USER
from platolm.runs import conversation_id
from platolm.spec import sampling_seed

CPU_BLOCK_TOKENS = 128
"""What the engines' prefix cache keeps as one, without a GPU."""

Record = dict[str, Any]


@dataclass(frozen=True)
class CacheUse:
    """Prompt tokens of one side's utterances that its engines had cached, and could have had at best."""

    found: int
    attainable: int

    @property
    def share(self) -> float:
        return self.found / self.attainable


def fetch(api: httpx.Client, run_id: str) -> list[Record]:
    """The records of a run's dataset."""
    text = api.get(f"/v1/runs/{run_id}/dataset", timeout=120).raise_for_status().text
    return [json.loads(line) for line in text.split("\n") if line]


def check_records(records: Sequence[Record], run_id: str, questions: Sequence[str], *, seed: int, turns: int) -> None:
    """Each conversation once, begun by its question, its turns in order, each with the seed that is its place's own."""
    assert sorted(record["index"] for record in records) == list(range(len(questions)))
    for record in records:
        index, said, how = record["index"], record["conversations"], record["turns"]
        assert record["id"] == conversation_id(run_id, index)
        assert said[0] == {"from": "human", "value": questions[index]}
        assert [turn["from"] for turn in said] == (["human", "gpt"] * turns)[: len(said)]
        assert [turn["role"] for turn in how] == ([USER, ASSISTANT] * turns)[: len(said)]
        assert 2 <= len(said) <= turns
        expected = [None, *(sampling_seed(seed, index, turn) for turn in range(1, len(said)))]
        assert [turn["sampling_seed"] for turn in how] == expected
        assert all(turn["value"].strip() for turn in said)


def cache_use(records: Sequence[Record], role: str) -> CacheUse:
    """How much of a side's prompts its engines had read before, where each engine has only its own conversations.

    What a prompt repeats of the one before, and of the answer to it, is in the cache of the engine that answered, in
    whole blocks but for the last token; another engine has nothing of it.
    """
    found = attainable = 0
    for turn, before in (pair for record in records for pair in _followed(record, role)):
        known = (before["num_prompt_tokens"] + before["num_tokens"] - 1) // CPU_BLOCK_TOKENS * CPU_BLOCK_TOKENS
        attainable += known
        found += min(known, turn["num_cached_tokens"] or 0)
    return CacheUse(found, attainable)


def _followed(record: Record, role: str) -> Iterator[tuple[Record, Record]]:
    """Each of a side's generated utterances but the first, with the one before it."""
    spoken = [turn for turn in record["turns"] if turn["role"] == role and turn["finish_reason"] != "seed"]
    return zip(spoken[1:], spoken, strict=False)
