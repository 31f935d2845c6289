"""Where one conversation's two sides live: a replica each, or a chat API, kept until it is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from platolm.conversation import ASSISTANT, USER
from platolm.spec import RunSpec
from services.orchestrator.engines.chat_apis import ApiSeat, OutsideApi
from services.orchestrator.engines.errors import NoReplicaError
from services.orchestrator.engines.replicas import Pools, Replica
from services.orchestrator.queue import Claim, Queue, redis_patiently
from services.orchestrator.queue.queue import pool_key


class Placement:
    """A conversation's replicas, by role; the queue holds what is reserved on them.

    `spoke` gives the chat API of a role's last recorded utterance.
    """

    def __init__(
        self,
        claim: Claim,
        spec: RunSpec,
        queue: Queue,
        pools: Pools,
        *,
        spoke: Callable[[str], str | None] = lambda role: None,
    ) -> None:
        self._claim = claim
        self._queue = queue
        self._pools = pools
        self._keys = {USER: pool_key(spec.simulator), ASSISTANT: pool_key(spec.respondent)}
        self._urls = dict(claim.placed)
        self._cached: dict[str, tuple[str, int]] = {}
        self._seats = {
            role: ApiSeat(pools.apis, weights, run_seed=spec.seed, index=claim.index, spoke=partial(spoke, role))
            for role in (USER, ASSISTANT)
            if (weights := spec.side(role).apis)
        }

    def replica(self, role: str) -> Replica | OutsideApi:
        """Whom this side asks.

        Raises:
            MisconfiguredError: this worker does not know the chat API, or lacks its key.
        """
        if role in self._seats:
            return self._seats[role].api()
        return self._pools.replicas.get(self._urls[role])

    async def leave(self, role: str) -> bool:
        """Pass over a replica that is gone, for the least reserved of the others; False: the claim is lost.

        Raises:
            NoReplicaError: no other replica may be used now.
        """
        if role in self._seats:
            self._seats[role].leave()
            return True
        self.replica(role).refuse()
        others = self._others(role)
        if not others:
            raise NoReplicaError("no engine answers", retryable=True)
        return await self._place(role, others)

    async def try_another(self, role: str) -> bool:
        """Go to another replica where there is one; this one may do for others. False: the claim is lost."""
        if role in self._seats:
            self._seats[role].try_another()
            return True
        others = self._others(role)
        return await self._place(role, others) if others else True

    def _others(self, role: str) -> list[str]:
        usable = self._pools.engines(role, self._keys[role]).usable()
        return [replica.url for replica in usable if replica.url != self._urls[role]]

    async def _place(self, role: str, urls: Sequence[str]) -> bool:
        claim = self._claim
        url = await redis_patiently(lambda: self._queue.place(claim.conversation_id, claim.token, role, urls))
        if url is None:
            return False
        self._urls[role] = url
        return True

    def spoken(self, role: str, replica: Replica | OutsideApi, num_tokens: int) -> None:
        """This side's replica has seen `num_tokens` tokens of the conversation, prompt and utterance with its end."""
        if isinstance(replica, Replica):
            self._cached[role] = (replica.url, num_tokens)

    def attainable(self, role: str, replica: Replica | OutsideApi) -> int:
        """Prompt tokens that the replica can have cached: whole blocks of all it saw but the last token.

        Of a chat API's cache nothing is known.
        """
        if not isinstance(replica, Replica):
            return 0
        url, num_tokens = self._cached.get(role, ("", 0))
        block = replica.reading.block_size
        return (num_tokens - 1) // block * block if url == replica.url and block and num_tokens else 0
