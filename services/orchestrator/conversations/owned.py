"""The conversations that a worker owns: their tasks and tokens, held against what Redis says."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

import structlog

from services.orchestrator.conversations.runner import ConversationRunner
from services.orchestrator.queue import Claim

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Owned:
    runner: ConversationRunner
    task: asyncio.Task[None]
    token: str


class OwnedConversations:
    """One task for each claim, from its start to its end."""

    def __init__(self) -> None:
        self._owned: dict[str, _Owned] = {}
        self._missing: set[str] = set()

    def __len__(self) -> int:
        return len(self._owned)

    @property
    def run_ids(self) -> set[str]:
        return {owned.runner.state.run_id for owned in self._owned.values()}

    def start(self, claim: Claim, runner: ConversationRunner, group: asyncio.TaskGroup) -> None:
        """Carry a claimed conversation, in a task of `group`."""
        task = group.create_task(runner.run(), name=claim.conversation_id)
        owned = self._owned[claim.conversation_id] = _Owned(runner, task, claim.token)
        task.add_done_callback(lambda _: self._forget(claim.conversation_id, owned))

    def drop_lost(self, held: Mapping[str, str]) -> None:
        """Stop conversations whose claim Redis does not hold, the second time that it is missed.

        The first time, it may have been finished in this very moment.
        """
        missing = {
            conversation_id
            for conversation_id, owned in self._owned.items()
            if held.get(conversation_id) != owned.token and not owned.task.done()
        }
        for conversation_id in missing & self._missing:
            logger.warning("claim_lost", conversation_id=conversation_id)
            self._owned[conversation_id].task.cancel()
        self._missing = missing

    def unknown(self, held: Mapping[str, str]) -> dict[str, str]:
        """The claims that Redis holds for this worker and nobody here works on: a reply that was lost."""
        return {
            conversation_id: token
            for conversation_id, token in held.items()
            if conversation_id not in self._owned or self._owned[conversation_id].token != token
        }

    def cancel_all(self) -> None:
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

    def _forget(self, conversation_id: str, owned: _Owned) -> None:
        if self._owned.get(conversation_id) is owned:
            del self._owned[conversation_id]
