"""The part of the queue that one conversation's worker sees, in memory."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from platolm.conversation import TerminationReason
from platolm.runs import PausedBy, RunState
from services.orchestrator.queue import Outcome, Written


@dataclass
class Finished:
    reason: TerminationReason
    record: dict[str, Any]
    held_tokens: int


@dataclass
class StubQueue:
    """One conversation. `script` holds, for the coming appends and finishes, what happens before each (None: nothing).

    `done` names every call, in order.
    """

    token: str = "token"
    turns: list[str] = field(default_factory=list)
    state: RunState = RunState.RUNNING
    losses: list[int | Outcome] = field(default_factory=list)
    places: list[str | None] = field(default_factory=list)
    script: list[Any] = field(default_factory=list)
    finished: Finished | None = None
    error: str | None = None
    pause_reason: tuple[PausedBy, str] | None = None
    generated_tokens: list[int] = field(default_factory=list)
    watching: frozenset[str] | Exception = frozenset()
    shown: list[str] = field(default_factory=list)
    done: list[str] = field(default_factory=list)
    place_calls: list[tuple[str, list[str]]] = field(default_factory=list)

    def contents(self) -> list[str]:
        return [json.loads(turn)["content"] for turn in self.turns]

    def _happen(self, call: str) -> None:
        self.done.append(call)
        happening = self.script.pop(0) if self.script else None
        if isinstance(happening, Exception):
            raise happening
        if happening is not None:
            happening(self)

    async def append(
        self, conversation_id: str, token: str, *, index: int, expected: int, turn: str, generated_tokens: int
    ) -> Written:
        self._happen(f"append {expected}")
        assert (conversation_id, index) == ("run-a-00000007", 7)
        if token != self.token:
            return Written(Outcome.STALE, 0)
        if self.finished is not None:
            return Written(Outcome.GONE, 0)
        if expected > len(self.turns):
            return Written(Outcome.SHORT, len(self.turns), self.state)
        if expected == len(self.turns):
            self.turns.append(turn)
            self.generated_tokens.append(generated_tokens)
        elif self.turns[expected] != turn:
            return Written(Outcome.STALE, len(self.turns))
        return Written(Outcome.OK, len(self.turns), self.state)

    async def finish(
        self,
        conversation_id: str,
        token: str,
        *,
        expected: int,
        record: str,
        reason: TerminationReason,
        held_tokens: int,
    ) -> Written:
        self._happen(f"finish {expected}")
        if token != self.token:
            return Written(Outcome.STALE, 0)
        if expected > len(self.turns):
            return Written(Outcome.SHORT, len(self.turns), self.state)
        self.finished = Finished(reason, json.loads(record), held_tokens)
        return Written(Outcome.OK, expected, self.state)

    async def fail(self, conversation_id: str, token: str, error: str) -> Outcome:
        self.done.append("fail")
        self.error = error
        return Outcome.REQUEUED

    async def lose_engine(self, conversation_id: str, token: str, error: str) -> int | Outcome:
        self.done.append("lose_engine")
        self.error = error
        return self.losses.pop(0)

    async def release(self, conversation_id: str, token: str) -> bool:
        self.done.append("release")
        return token == self.token

    async def pause(self, run_id: str, by: PausedBy, reason: str) -> RunState:
        self.done.append(f"pause {run_id}")
        self.pause_reason = (by, reason)
        return RunState.PAUSED

    async def place(self, conversation_id: str, token: str, role: str, urls: Sequence[str]) -> str | None:
        self.done.append("place")
        self.place_calls.append((role, list(urls)))
        return self.places.pop(0)

    async def watched(self) -> frozenset[str]:
        if isinstance(self.watching, Exception):
            raise self.watching
        return self.watching

    async def show(self, conversation_id: str, message: str) -> None:
        assert conversation_id == "run-a-00000007"
        self.shown.append(message)
