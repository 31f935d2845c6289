"""What a run that is over came to: counts over its records, and rates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from pydantic import BaseModel

from platolm.chat_apis.use import ApiUse
from platolm.conversation import TerminationReason
from platolm.dataset import Record
from platolm.runs import DeadConversation, RealismProgress, RunProgress, RunState


class RunSummary(BaseModel):
    """What a run that is over came to. Rates are over the run's own time, from its creation to its last utterance."""

    run_id: str
    state: RunState = RunState.COMPLETED
    conversations: int
    finished: int
    dead: int
    cancelled: int = 0
    terminations: dict[TerminationReason, int]
    mean_rounds: float
    mean_utterance_tokens: float
    utterances: int
    generated_tokens: int
    wall_time_s: float
    conversations_per_minute: float
    tokens_per_s: float
    dead_conversations: list[DeadConversation] = []
    realism: RealismProgress | None = None
    apis: dict[str, ApiUse] = {}

    @property
    def is_whole(self) -> bool:
        """Whether every conversation that was asked for is in the dataset."""
        return self.state is RunState.COMPLETED and not self.dead


@dataclass
class Tally:
    """Counts over the records that pass through."""

    finished: int = 0
    rounds: int = 0
    utterances: int = 0
    tokens: int = 0
    last_finished_at: float = 0.0
    terminations: Counter[TerminationReason] = field(default_factory=Counter)

    def over(self, records: Iterator[Record]) -> Iterator[Record]:
        for record in records:
            self.finished += 1
            self.rounds += record["num_rounds"]
            self.utterances += len(record["turns"])
            self.tokens += sum(turn["num_tokens"] for turn in record["turns"])
            self.last_finished_at = max(self.last_finished_at, record["finished_at"])
            self.terminations[TerminationReason(record["termination_reason"])] += 1
            yield record

    def summary(self, progress: RunProgress, dead: list[DeadConversation]) -> RunSummary:
        wall_time_s = max(self.last_finished_at - progress.created_at, 0.0)
        return RunSummary(
            run_id=progress.id,
            state=progress.state,
            conversations=progress.spec.conversations,
            finished=self.finished,
            dead=progress.dead,
            cancelled=progress.cancelled,
            terminations=dict(self.terminations.most_common()),
            mean_rounds=_ratio(self.rounds, self.finished),
            mean_utterance_tokens=_ratio(self.tokens, self.utterances),
            utterances=self.utterances,
            generated_tokens=progress.generated_tokens,
            wall_time_s=wall_time_s,
            conversations_per_minute=_ratio(60 * self.finished, wall_time_s),
            tokens_per_s=_ratio(progress.generated_tokens, wall_time_s),
            dead_conversations=dead,
            realism=progress.realism,
            apis=progress.apis,
        )


def _ratio(numerator: float, denominator: float) -> float:
    return numerator / denominator if denominator > 0 else 0.0
