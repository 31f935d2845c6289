"""What workers share of chat APIs: their pace, a run's budget, and what its speakers have used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import orjson

from platolm.chat_apis.accounting import SideAccount
from platolm.chat_apis.budget import RedisBudget, budget_scripts
from platolm.chat_apis.pace import RateLimits
from platolm.chat_apis.pacing import RedisPacer, pacing_scripts
from services.orchestrator.queue.outages import redis_patiently

CHAT_SCRIPTS: Mapping[str, str] = {**pacing_scripts(), **budget_scripts()}
"""Scripts by name that compute no keys: they are given theirs."""


class ChatUse:
    """The part of a `Queue` that is about chat APIs. Its calls wait for as long as Redis is away."""

    def __init__(self, call: Callable[..., Awaitable[Any]], key: Callable[..., str]) -> None:
        self._call = call
        self._key = key

    def pacer(self, api: str, limits: RateLimits) -> RedisPacer:
        """The pace of an API, by the operator's name for it."""
        return RedisPacer(self._patiently, self._key("pace", api), limits)

    def budget(self, run_id: str, limit_nanos: int) -> RedisBudget:
        """What a run may spend; `limit_nanos` is what it began with."""
        return RedisBudget(self._patiently, self._key("budget", run_id), limit_nanos)

    async def keep_account(self, run_id: str, side: str, speaker_id: str, account: SideAccount) -> None:
        """Put down all that one speaker of a run's side has used since it was made."""
        told = orjson.dumps(account.to_json()).decode()
        await self._patiently("account", run_id, f"{side}:{speaker_id}", told)

    async def _patiently(self, script: str, *args: Any) -> Any:
        return await redis_patiently(lambda: self._call(script, *args))


def accounts_of(fields: Mapping[str, str]) -> dict[str, SideAccount]:
    """Each side's account, from what `keep_account` put down."""
    found: dict[str, SideAccount] = {}
    for name, told in sorted(fields.items()):
        side = name.partition(":")[0]
        found[side] = found.get(side, SideAccount()) + SideAccount.from_json(orjson.loads(told))
    return found
