"""What must be true after a chaos run."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from platolm.conversation import ASSISTANT, USER
from platolm.spec import sampling_seed
from tests.integration.orchestrator.chaos.acknowledged import Position
from tests.integration.orchestrator.chaos.plan import MOST_LOST_S, Role
from tests.integration.orchestrator.chaos.run import MAX_TURNS, Aftermath
from tests.integration.orchestrator.chaos.stack import MODELS
from tests.integration.orchestrator.chaos.undisturbed import Record, content

LOST_WITH_REDIS_S = MOST_LOST_S + 1.0
"""With what a kill itself may lose of what waits for the disk."""
HEARD_LATE_S = 1.0
"""What a Redis said just before its end may be heard after it: the listener shares a busy machine."""
HEARD_AT_LEAST = 0.8
"""Acknowledgements, of all utterances: else the check on what is asked for after them would say little."""


@dataclass(frozen=True)
class Findings:
    """What was counted on the way, in utterances unless the name says otherwise.

    `repeats` leaves out those that Redis forgot having: `forgotten` is how many it may have, `made_again` how many of
    these were repeated.
    """

    utterances: int
    requests: int
    heard: int
    repeats: int
    in_flight_at_kills: int
    forgotten: int
    made_again: int
    kills: Counter[Role]

    def __str__(self) -> str:
        kills = ", ".join(f"{count} {role}" for role, count in sorted(self.kills.items()))
        return (
            f"{self.utterances} utterances, {self.requests} requests, {self.heard} acknowledgements heard; "
            f"kills: {kills or 'none'}; repeated: {self.repeats} of {self.in_flight_at_kills} in flight at kills, "
            f"{self.made_again} of {self.forgotten} in Redis' lost seconds"
        )


def check(aftermath: Aftermath, expected: Mapping[int, Record]) -> Findings:
    """Hold a run against what it must be; `expected` is what an undisturbed one says."""
    check_dataset(aftermath, expected)
    check_nothing_left(aftermath)
    return check_requests(aftermath)


def check_dataset(aftermath: Aftermath, expected: Mapping[int, Record]) -> None:
    """Each conversation exactly once, whole, in order, and what an undisturbed run says."""
    conversations = aftermath.spec.conversations
    progress = aftermath.progress
    counts = {name: progress[name] for name in ("state", "committed", "finished", "dead", "in_flight")}
    assert counts == {
        "state": "completed", "committed": conversations, "finished": conversations, "dead": 0, "in_flight": 0
    }  # fmt: skip
    assert Counter(record["index"] for record in aftermath.records) == Counter(range(conversations))
    for record in aftermath.records:
        seeds = [turn["sampling_seed"] for turn in record["turns"]]
        assert seeds == [sampling_seed(aftermath.spec.seed, record["index"], turn) for turn in range(len(seeds))]
        assert [turn["role"] for turn in record["turns"]] == ([USER, ASSISTANT] * len(seeds))[: len(seeds)]
        assert content(record) == expected[record["index"]]


def check_nothing_left(aftermath: Aftermath) -> None:
    """Redis holds the run's hash, who works and what they report, and nothing of its conversations."""
    left = {key.removeprefix("platolm:") for key in aftermath.keys_left}
    left = {key for key in left if not key.startswith(("worker:", "idempotency:"))}
    assert left <= {"runs", "workers", "reports", "sides", f"run:{aftermath.run_id}"}, left


def check_requests(aftermath: Aftermath) -> Findings:
    """Nothing acknowledged is asked for again, and no more than what was in flight at the kills is asked for twice."""
    redis_kills = [killed.at for killed in aftermath.killed if killed.kill.role is Role.REDIS]
    asked = check_acknowledged(aftermath, redis_kills)
    forgotten = _forgotten(aftermath, redis_kills)
    findings = Findings(
        utterances=len(asked),
        requests=len(aftermath.asked),
        heard=sum(map(len, aftermath.acknowledged.values())),
        repeats=sum(len(times) - 1 for position, times in asked.items() if position not in forgotten),
        in_flight_at_kills=sum(killed.in_flight for killed in aftermath.killed),
        forgotten=len(forgotten),
        made_again=sum(len(times) - 1 for position, times in asked.items() if position in forgotten),
        kills=Counter(killed.kill.role for killed in aftermath.killed),
    )
    assert findings.repeats <= findings.in_flight_at_kills, findings
    return findings


def check_acknowledged(aftermath: Aftermath, redis_kills: Sequence[float] = ()) -> dict[Position, list[float]]:
    """Nothing acknowledged is asked for again, and enough was heard to tell; gives when each was asked for."""
    asked = _asked_by_position(aftermath)
    heard = sum(map(len, aftermath.acknowledged.values()))
    assert heard >= HEARD_AT_LEAST * len(asked), f"of {len(asked)} utterances {heard} were heard: too little to tell"
    for position, times in asked.items():
        for acknowledged_at in aftermath.acknowledged.get(position, ()):
            late = [at for at in times if at > acknowledged_at and not _lost(acknowledged_at, at, redis_kills)]
            assert not late, f"{position}: acknowledged at {acknowledged_at}, asked for at {late}; {redis_kills=}"
    return asked


def _forgotten(aftermath: Aftermath, redis_kills: list[float]) -> set[Position]:
    """What was acknowledged so shortly before a Redis was killed that it may not have it any more."""
    return {
        position
        for position, times in aftermath.acknowledged.items()
        if any(-HEARD_LATE_S <= kill - at <= LOST_WITH_REDIS_S for kill in redis_kills for at in times)
    }


def _asked_by_position(aftermath: Aftermath) -> dict[Position, list[float]]:
    """When each utterance was asked for, requests left out that the engine itself spoiled."""
    positions = _positions(aftermath)
    asked: defaultdict[Position, list[float]] = defaultdict(list)
    for request in aftermath.asked:
        position = positions.get((request.model, request.seed))
        if position is not None and (request.was_answered or request.outcome is None):
            asked[position].append(request.at)
    return dict(asked)


def _positions(aftermath: Aftermath) -> dict[tuple[str, int], Position]:
    """Model and sampling seed tell conversation and turn; the few seeds that two share are left out."""
    found: dict[tuple[str, int], Position] = {}
    shared = set()
    for index in range(aftermath.spec.conversations):
        for turn in range(MAX_TURNS):
            key = (MODELS[ASSISTANT if turn % 2 else USER], sampling_seed(aftermath.spec.seed, index, turn))
            if key in found:
                shared.add(key)
            found[key] = (index, turn)
    return {key: position for key, position in found.items() if key not in shared}


def _lost(acknowledged_at: float, asked_at: float, redis_kills: Sequence[float]) -> bool:
    """Whether Redis was killed between the two, so soon that it may have forgotten."""
    return any(kill < asked_at and -HEARD_LATE_S <= kill - acknowledged_at <= LOST_WITH_REDIS_S for kill in redis_kills)
