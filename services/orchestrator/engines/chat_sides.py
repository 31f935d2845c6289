"""Speakers of a run's sides that chat APIs are behind: what they may spend, and where their accounts are kept."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from platolm.chat_apis.budget import Budget
from platolm.chat_apis.endpoints import ChatEndpoint, key_of, read_endpoints
from platolm.chat_apis.prices import PriceTable, nanos_of, prices_of, read_prices
from platolm.spec import RunSpec, speaker_profile
from services.orchestrator.engines.chat_apis import ChatApis
from services.orchestrator.metrics.chat_apis import MeteredAccount
from services.orchestrator.metrics.worker import WorkerMetrics
from services.orchestrator.queue.chat_use import ChatUse

if TYPE_CHECKING:  # the openai SDK takes 18 MiB, which only a worker with a run that asks a chat API should pay
    from platolm.chat_apis.api import ChatApi
    from platolm.chat_apis.speaker import ChatSpeaker


class ChatSides:
    """Builds such speakers."""

    def __init__(self, apis: ChatApis, use: ChatUse, metrics: WorkerMetrics) -> None:
        self._apis = apis
        self._use = use
        self._metrics = metrics

    def context_tokens(self, spec: RunSpec, role: str) -> list[int]:
        """The limits that the operator wrote of a side's APIs.

        Raises:
            MisconfiguredError: one of them is not known here.
        """
        limits = [self._apis.endpoint(name).context_tokens for name in spec.side(role).apis]
        return [limit for limit in limits if limit is not None]

    def budget(self, run_id: str, spec: RunSpec) -> Budget | None:
        """One for all of a run's speakers in this process; None: the run may spend what it likes."""
        limit = spec.limits.budget
        return None if limit is None else self._use.budget(run_id, nanos_of(limit))

    async def speaker(
        self, run_id: str, spec: RunSpec, role: str, name: str, *, context_tokens: int, budget: Budget | None
    ) -> ChatSpeaker:
        """A side's speaker, whose APIs answer and take their keys. `name` is the side's.

        Raises:
            MisconfiguredError: an API is not known here, lacks its key, or refuses it.
            SpeakerError: no API answers; retryable.
        """
        from platolm.chat_apis.speaker import ChatSpeaker

        side = spec.side(role)
        await self._apis.check(side.apis)
        keep = partial(self._use.keep_account, run_id, name, secrets.token_hex(4))
        return ChatSpeaker(
            profile=speaker_profile(side.profile),
            sampling=side.sampling,
            context_tokens=context_tokens,
            models={api: self._apis.endpoint(api).model for api in side.apis},
            account=MeteredAccount(self._metrics.chat_apis, name),
            budget=budget,
            keep=keep,
        )


def open_chat_apis(
    apis_file: Path | None,
    prices_file: Path | None,
    *,
    use: ChatUse,
    environment: Mapping[str, str],
    secrets_folder: Path | None,
) -> ChatApis:
    """The operator's APIs, at a pace that all workers keep together. Nothing is asked yet.

    Raises:
        SpecError: a file cannot be read, or is wrong.
    """
    endpoints = read_endpoints(apis_file).apis if apis_file is not None else {}
    table = read_prices(prices_file) if prices_file is not None else PriceTable()

    def opened(name: str, endpoint: ChatEndpoint) -> ChatApi:
        from platolm.chat_apis.api import ChatApi

        key = key_of(name, endpoint, environment, secrets_folder)
        prices = prices_of(endpoint.model, endpoint.url, endpoint.prices, table)
        return ChatApi(name, endpoint, key, use.pacer(name, endpoint.rate_limits()), prices)

    return ChatApis(endpoints, opened)
