"""The conversations that a worker owns: their tasks and tokens, held against what Redis says."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from services.orchestrator.conversations.runner import ConversationRunner
from services.orchestrator.queue import Claim

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Owned:
    runner: ConversationRunner
    task: asyncio.Task[None]
    token: str


class OwnedConversations:
    """One task for each claim, from its start to its end. `room` is set whenever one ends."""

    def __init__(self) -> None:
        self._owned: dict[str, _Owned] = {}
        self._starting: dict[str, str] = {}
        self._missing: set[str] = set()
        self.room = asyncio.Event()

    def __len__(self) -> int:
        return len(self._owned) + len(self._starting)

    @property
    def run_ids(self) -> set[str]:
        return {owned.runner.state.run_id for owned in self._owned.values()}

    def expect(self, claims: Iterable[Claim]) -> None:
        """Count claims as owned while their tasks are being made."""
        self._starting.update({claim.conversation_id: claim.token for claim in claims})

    def start(self, claim: Claim, runner: ConversationRunner, group: asyncio.TaskGroup) -> None:
        """Carry an expected conversation, in a task of `group`."""
        if self._starting.pop(claim.conversation_id, None) != claim.token:
            return  # everything was dropped meanwhile
        task = group.create_task(runner.run(), name=claim.conversation_id)
        owned = self._owned[claim.conversation_id] = _Owned(runner, task, claim.token)
        task.add_done_callback(lambda _: self._forget(claim.conversation_id, owned))

    def give_up(self, claim: Claim) -> None:
        """An expected conversation that could not be started."""
        self._starting.pop(claim.conversation_id, None)
        self.room.set()

    def drop_lost(self, held: Mapping[str, str]) -> int:
        """Stop conversations whose claim Redis does not hold, the second time that it is missed; gives how many.

        The first time, it may have been finished in this very moment.
        """
        missing = {
            conversation_id
            for conversation_id, owned in self._owned.items()
            if held.get(conversation_id) != owned.token and not owned.task.done()
        }
        lost = missing & self._missing
        for conversation_id in lost:
            logger.warning("claim_lost", conversation_id=conversation_id)
            self._owned[conversation_id].task.cancel()
        self._missing = missing
        return len(lost)

    def unknown(self, held: Mapping[str, str]) -> dict[str, str]:
        """The claims that Redis holds for this worker and nobody here works on: a reply that was lost."""
        return {cid: token for cid, token in held.items() if self._token(cid) != token}

    def cancel_all(self) -> None:
        self._starting.clear()
        for owned in self._owned.values():
            owned.task.cancel()

    async def drain(self, timeout_s: float) -> None:
        """Wait for the conversations to stop by themselves; after `timeout_s` stop them and give them back."""
        owned = list(self._owned.values())
        if not owned:
            return
        _, late = await asyncio.wait([o.task for o in owned], timeout=timeout_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        for left in (o for o in owned if o.task in late):
            await left.runner.release()

    def _token(self, conversation_id: str) -> str | None:
        owned = self._owned.get(conversation_id)
        return owned.token if owned is not None else self._starting.get(conversation_id)

    def _forget(self, conversation_id: str, owned: _Owned) -> None:
        if self._owned.get(conversation_id) is owned:
            del self._owned[conversation_id]
        self.room.set()
