"""Runs over old conversations: gone on with, and answered again, whatever happens to their worker."""

from __future__ import annotations

import json
from typing import Any

import pytest

from platolm.seed_modes import SeedMode
from platolm.spec import RunRequest
from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.chaos.undisturbed import content, undisturbed
from tests.integration.orchestrator.whole_runs import MAX_TURNS, Orchestrator, both, check_dataset

CONVERSATIONS, REPEATS = 24, 2


def old_conversation(number: int) -> dict[str, Any]:
    """Of two to six turns, the last of them open in every other one."""
    num_turns = 2 + number % 5
    turns = [{"role": ("user", "assistant")[i % 2], "content": f"Turn {i} of {number}"} for i in range(num_turns)]
    return {"turns": turns, "line": number + 1}


SEEDS = [old_conversation(number) for number in range(CONVERSATIONS // REPEATS)]


@pytest.mark.parametrize(
    ("mode", "fields", "reasons"),
    [(SeedMode.CONTINUE, {"from_turn": 3}, {"turn_limit"}), (SeedMode.REANSWER, {}, {"seed_exhausted"})],
)
def test_the_same_dataset_when_a_worker_is_killed(
    orchestrator: Orchestrator,
    simulator: FakeEngine,
    respondent: FakeEngine,
    mode: SeedMode,
    fields: dict[str, Any],
    reasons: set[str],
) -> None:
    simulator.latency_s = respondent.latency_s = 0.05
    endings = {"max_turns": MAX_TURNS, "repetition": False}
    spec = {"conversations": CONVERSATIONS, "repeats": REPEATS, "seed_mode": mode.value, "endings": endings, **fields}
    doomed = orchestrator.start_worker(simulator.url, respondent.url, max_in_flight=6)
    run_id = str(orchestrator.api.submit({"spec": spec, "seeds": SEEDS}).json()["id"])
    orchestrator.wait_at_least(run_id, utterances=30)
    doomed.kill()
    assert orchestrator.api.run(run_id)["state"] == "running"
    orchestrator.start_worker(simulator.url, respondent.url)
    records = check_dataset(orchestrator.api, run_id, CONVERSATIONS)
    request = RunRequest.model_validate({"spec": spec, "seeds": SEEDS})
    expected = undisturbed(run_id, request.spec, both(simulator, respondent), request.taken_seeds())
    assert {record["index"]: content(record) for record in records} == expected
    assert {record["termination_reason"] for record in records} == reasons
    for record in records:
        check_given(record, mode, SEEDS[record["index"] // REPEATS]["turns"])
    written = (orchestrator.data_dir / "runs" / run_id / "seeds.jsonl").read_text().splitlines()
    assert [json.loads(line)["turns"] for line in written] == [
        [turn.model_dump() for turn in seed.turns or []] for seed in request.taken_seeds()
    ]


def check_given(record: dict[str, Any], mode: SeedMode, old: list[dict[str, str]]) -> None:
    """Word for word what the old conversation gave, marked as given; all else was generated."""
    users = [turn["content"] for turn in old if turn["role"] == "user"]
    said = [turn["value"] for turn in record["conversations"]]
    given = {position for position, turn in enumerate(record["turns"]) if turn["finish_reason"] == "seed"}
    if mode is SeedMode.CONTINUE:
        assert given == set(range(min(3, len(old))))
        assert said[: len(given)] == [turn["content"] for turn in old[:3]]
        assert len(said) == MAX_TURNS
    else:
        assert given == set(range(0, 2 * len(users), 2))
        assert said[::2] == users
        assert len(said) == 2 * len(users)
    for position, turn in enumerate(record["turns"]):
        is_given = position in given
        assert (turn["sampling_seed"] is None) == (turn["num_prompt_tokens"] == 0) == is_given
        assert turn["num_tokens"] > 0
