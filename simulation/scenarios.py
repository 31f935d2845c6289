"""What the study compares policies in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from platolm.conversation import ASSISTANT, USER
from platolm.reservation import held_tokens
from platolm.sizing.curves import EngineCurve
from platolm.sizing.formula import Side, throughput
from platolm.sizing.load import SideLoad, side_load
from simulation.model import Change, Setup
from simulation.placement import Policy
from simulation.workload import Lengths, Workload

EQUAL = Lengths()
MIXED = Lengths(spread=0.6, ends_one_in=5, max_utterances=16)
_SAMPLE = 2000
_SLOWNESS = 2.0
_KILLED_ONE_IN = 5
_KILLED_AT, _JOIN_AT = 0.3, 0.6
SIDES = (USER, ASSISTANT)


@dataclass(frozen=True)
class Scenario:
    """A situation. `crowding`: conversations in flight, as a multiple of what the KV caches hold."""

    name: str
    about: str
    lengths: Lengths
    crowding: float = 1.0
    half_is_slow: bool = False
    are_killed: bool = False

    def curves(self, curve: EngineCurve, replicas: int) -> list[EngineCurve]:
        """One side's engines; of different ones every second is slow."""
        slow = curve.scaled(_SLOWNESS) if self.half_is_slow else curve
        return [slow if number % 2 else curve for number in range(replicas)]

    def setup(self, curve: EngineCurve, replicas: int, policy: Policy, workload: Workload) -> Setup:
        """The engines and rules for this many replicas a side."""
        engines = self.curves(curve, replicas)
        expected_s = workload.num_conversations / self.formula(curve, replicas, workload)
        return Setup(
            engines,
            engines,
            policy,
            self.in_flight(curve, replicas, workload),
            first_need=self.lengths.context_tokens,
            changes=tuple(self._changes(replicas, expected_s)),
            bin_s=expected_s / 100,
        )

    def in_flight(self, curve: EngineCurve, replicas: int, workload: Workload) -> int:
        """As many conversations as the caches hold, by what they reserve, times `crowding`; the same for all."""
        return int(self.crowding * replicas * curve.kv_tokens / mean_need(workload))

    def formula(self, curve: EngineCurve, replicas: int, workload: Workload) -> float:
        """Conversations a second that the formula gives, all engines alive and all prefixes found.

        Where half of the engines are slow, as many of each kind by themselves.
        """
        kinds = [curve, curve.scaled(_SLOWNESS)] if self.half_is_slow else [curve]
        loads = mean_loads(workload, curve.block_tokens)
        share = self.in_flight(curve, replicas, workload) / len(kinds)
        rates = []
        for kind in kinds:
            sides = {role: Side(kind, loads[role], replicas // len(kinds)) for role in SIDES}
            rates.append(throughput(sides, max_in_flight=share).conversations_per_s)
        return sum(rates)

    def _changes(self, replicas: int, expected_s: float) -> list[Change]:
        if not self.are_killed:
            return []
        killed = [number for number in range(2 * replicas) if number % _KILLED_ONE_IN == 0]
        return [
            Change(share * expected_s, number, joins)
            for share, joins in ((_KILLED_AT, False), (_JOIN_AT, True))
            for number in killed
        ]


SCENARIOS: Sequence[Scenario] = (
    Scenario("equal", "every conversation has ten utterances of the same lengths", EQUAL),
    Scenario("mixed", "utterances' lengths are log-normal, one answer in five ends its conversation", MIXED),
    Scenario("killed", "as mixed; a fifth of the engines is killed and comes back empty later", MIXED, are_killed=True),
    Scenario("unlike", "as mixed; every second engine takes twice as long for everything", MIXED, half_is_slow=True),
    Scenario("crowded", "as mixed; twice as many conversations are in flight as the caches hold", MIXED, crowding=2.0),
)


def mean_need(workload: Workload) -> float:
    """What a conversation reserves, from the first of them."""
    return float(np.mean([held_tokens(float(np.mean(_sizes(workload, talk)))) for talk in _sampled(workload)]))


def mean_loads(workload: Workload, block_tokens: int) -> dict[str, SideLoad]:
    """A conversation's demands by role, as means over the first of them."""

    def mean(side: int, of: Callable[[SideLoad], float]) -> float:
        return float(np.mean([of(load) for load in loads[side]]))

    sampled = _sampled(workload)
    loads = [[side_load(workload.requests(talk, side), block_tokens) for talk in sampled] for side in range(len(SIDES))]
    need = mean_need(workload)
    return {
        role: SideLoad(
            mean(side, lambda load: load.utterances),
            mean(side, lambda load: load.generated),
            mean(side, lambda load: load.prompt),
            mean(side, lambda load: load.prefilled),
            need,
        )
        for side, role in enumerate(SIDES)
    }


def _sampled(workload: Workload) -> range:
    return range(min(_SAMPLE, workload.num_conversations))


def _sizes(workload: Workload, talk: int) -> list[float]:
    return [prompt + said for side in range(len(SIDES)) for prompt, said in workload.requests(talk, side)]
