"""What a worker knows of the two sides: their engines, the models these serve, and a speaker for each run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict, dataclass

from platolm.conversation import ASSISTANT, USER
from platolm.dyadic import PROFILES
from platolm.errors import MisconfiguredError, TokenizerError
from platolm.speakers import EngineModel, TokenSpeaker
from platolm.spec import RunSpec, SideSpec
from platolm.tokenizer import HubTokenizer, load_tokenizer
from services.orchestrator.engines.replicas import Pools
from services.orchestrator.queue import Queue
from services.orchestrator.queue.queue import pool_key

SIDE_NAMES: Mapping[str, str] = {USER: "simulator", ASSISTANT: "respondent"}


@dataclass(frozen=True)
class SideDescription:
    """One side as workers found it; the API reads it to check a run before it starts."""

    model: str
    tokenizer: str
    max_model_len: int


class Sides:
    """Builds speakers. Tokenizers are loaded once for each folder, models asked for once for each run."""

    def __init__(self, pools: Pools, tokenizers: Mapping[str, str | None]) -> None:
        self.pools = pools
        self._tokenizer_sources = tokenizers
        self._loaded: dict[str, HubTokenizer] = {}
        self._run_speakers: dict[str, Mapping[str, TokenSpeaker]] = {}

    async def publish(self, queue: Queue) -> None:
        """Tell the API what is served, so that it can check seeds and context before a run starts.

        Raises:
            SpeakerError: a side's engines do not answer yet.
        """
        for role, name in SIDE_NAMES.items():
            served = await self.pools.get(role, "").describe()
            source = self._tokenizer_sources[role] or served.root
            await queue.publish_side(name, asdict(SideDescription(served.id, source, served.max_model_len)))

    async def speakers(self, run_id: str, spec: RunSpec) -> Mapping[str, TokenSpeaker]:
        """Both sides of a run, by role.

        Raises:
            MisconfiguredError: a side serves another model, or one without a usable tokenizer.
            SpeakerError: a side's engines do not answer; retryable.
        """
        known = self._run_speakers.get(run_id)
        if known is not None:
            return known
        asked = {USER: spec.simulator, ASSISTANT: spec.respondent}
        served = {role: await self.pools.get(role, pool_key(side)).describe(side.model) for role, side in asked.items()}
        context = min(spec.endings.context_tokens, *(model.max_model_len for model in served.values()))
        speakers = {role: await self._speaker(role, side, served[role], context) for role, side in asked.items()}
        self._run_speakers[run_id] = speakers
        return speakers

    def forget(self, active: set[str]) -> None:
        """Drop what is kept for runs that are over, or that wait: their engines may serve something else then."""
        for run_id in set(self._run_speakers) - active:
            del self._run_speakers[run_id]

    async def _speaker(self, role: str, side: SideSpec, served: EngineModel, context_tokens: int) -> TokenSpeaker:
        try:
            tokenizer = await self._tokenizer(self._source(role, side, served))
        except TokenizerError as error:
            raise MisconfiguredError(f"{SIDE_NAMES[role]} {served.id}: {error}") from error
        return TokenSpeaker(
            profile=PROFILES[side.profile],
            tokenizer=tokenizer,
            model=served.id,
            sampling=side.sampling,
            context_tokens=context_tokens,
        )

    def _source(self, role: str, side: SideSpec, served: EngineModel) -> str:
        """Where a side's tokenizer comes from; the worker's own setting is for the engines that it was given."""
        given = None if side.endpoints else self._tokenizer_sources[role]
        return given or served.root

    async def _tokenizer(self, source: str) -> HubTokenizer:
        if source not in self._loaded:
            self._loaded[source] = await asyncio.to_thread(load_tokenizer, source)
        return self._loaded[source]
