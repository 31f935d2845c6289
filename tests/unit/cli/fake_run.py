"""A run of the fake API, and what the API says of its conversations."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field

from platolm.chat_apis.use import ApiUse, EstimatedCost
from platolm.conversation import TerminationReason
from platolm.dataset import ManifestEntry, Record
from platolm.runs import (
    Pause,
    RunProgress,
    RunState,
    conversation_id,
)
from platolm.runs_api import (
    ConversationDetail,
    ConversationState,
    ConversationSummary,
    ConversationTurn,
)
from platolm.segments import SUFFIXES, encode_segment
from platolm.spec import RunRequest

NUM_TURNS = 4
TOKENS_A_TURN = 7


@dataclass
class FakeRun:
    """One run and what of it is committed."""

    id: str
    request: RunRequest
    dead_indices: frozenset[int] = frozenset()
    entries: list[ManifestEntry] = field(default_factory=list)
    segments: dict[str, bytes] = field(default_factory=dict)
    pause: Pause | None = None
    is_cancelled: bool = False
    apis: dict[str, ApiUse] = field(default_factory=dict)
    budget: float | None = None
    cost_estimate: EstimatedCost | None = None
    is_paced: bool = True
    """Whether the API commits conversations of it as time goes by."""

    @property
    def state(self) -> RunState:
        if self.is_cancelled:
            return RunState.CANCELLED
        if self.committed == len(self.living):
            return RunState.COMPLETED
        return RunState.PAUSED if self.pause is not None else RunState.RUNNING

    @property
    def committed(self) -> int:
        return sum(len(entry.indices) for entry in self.entries)

    @property
    def living(self) -> list[int]:
        return [index for index in range(self.request.spec.conversations) if index not in self.dead_indices]

    def commit(self, size: int) -> None:
        """Commit the next `size` conversations as one segment, its records in falling order of their index."""
        if self.state is not RunState.RUNNING:
            return
        committed = {index for entry in self.entries for index in entry.indices}
        indices = sorted([index for index in self.living if index not in committed][:size], reverse=True)
        if not indices:
            return
        form = self.request.spec.output.format
        content = encode_segment((json.dumps(record_of(self.id, index)) for index in indices), form)
        number = len(self.entries) + 1
        name = f"{number:08d}-fake{SUFFIXES[form]}"
        self.segments[name] = content
        self.entries.append(
            ManifestEntry(
                number=number,
                segment=name,
                indices=indices,
                size_bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
            )
        )

    def progress(self) -> RunProgress:
        return RunProgress(
            id=self.id,
            state=self.state,
            pause=self.pause if self.state is RunState.PAUSED else None,
            spec=self.request.spec,
            created_at=1000.0,
            fed=self.request.spec.conversations,
            in_flight=0,
            finished=self.committed,
            committed=self.committed,
            dead=len(self.dead_indices),
            cancelled=len(self.living) - self.committed if self.is_cancelled else 0,
            utterances=NUM_TURNS * self.committed,
            generated_tokens=NUM_TURNS * TOKENS_A_TURN * self.committed,
            terminations={TerminationReason.TURN_LIMIT: self.committed},
            apis=self.apis,
            budget=self.request.spec.limits.budget if self.budget is None else self.budget,
            cost_estimate=self.cost_estimate,
        )


def record_of(run_id: str, index: int) -> Record:
    """A finished conversation whose text names its index."""
    roles = ["user", "assistant"] * (NUM_TURNS // 2)
    side = {"profile": "socratic", "model": "fake", "sampling": {"temperature": 0.7}, "system_prompt": None}
    return {
        "id": conversation_id(run_id, index),
        "run_id": run_id,
        "index": index,
        "conversations": [
            {"from": "human" if role == "user" else "gpt", "value": f"{index}/{turn_index} é ✓"}
            for turn_index, role in enumerate(roles)
        ],
        "num_rounds": NUM_TURNS // 2,
        "termination_reason": "turn_limit",
        "simulator": side,
        "respondent": {**side, "profile": "platolm"},
        "seed": 0,
        "seed_mode": "free",
        "seed_line": None,
        "turns": [
            {"role": role, "num_tokens": TOKENS_A_TURN, "finish_reason": "stop", "token_ids": [1, 2, 3]}
            for role in roles
        ],
        "started_at": 1000.0,
        "finished_at": 1060.0,
    }


def summary_of(run: FakeRun, index: int) -> ConversationSummary:
    """Conversation `index` in a list."""
    is_finished = any(index in entry.indices for entry in run.entries)
    is_dead = index in run.dead_indices
    queued = ConversationState.DEAD if is_dead else ConversationState.QUEUED
    return ConversationSummary(
        id=conversation_id(run.id, index),
        index=index,
        state=ConversationState.FINISHED if is_finished else queued,
        num_turns=NUM_TURNS if is_finished else 0,
        num_rounds=NUM_TURNS // 2 if is_finished else 0,
        termination_reason=TerminationReason.TURN_LIMIT if is_finished else None,
        error="the engine said no" if is_dead else None,
    )


def detail_of(run: FakeRun, index: int) -> ConversationDetail:
    """Conversation `index` with the turns of its record, where it has one."""
    summary = summary_of(run, index)
    record = record_of(run.id, index) if summary.state is ConversationState.FINISHED else None
    turns = [] if record is None else record["conversations"]
    return ConversationDetail(
        id=summary.id,
        run_id=run.id,
        index=index,
        state=summary.state,
        attempts=3 if summary.error else 0,
        error=summary.error,
        turns=[
            ConversationTurn(role="user" if turn["from"] == "human" else "assistant", content=turn["value"])
            for turn in turns
        ],
        record=record,
    )
