"""What a worker knows of the two sides: their engines, the models these serve, and a speaker for each run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from platolm.conversation import ASSISTANT, USER
from platolm.engine_client import EngineModel
from platolm.errors import MisconfiguredError, TokenizerError
from platolm.speakers import TokenSpeaker
from platolm.spec import RunSpec, SideSpec, speaker_profile
from platolm.tokenizer import HubTokenizer, load_tokenizer
from platolm.utterances import Speaker
from services.orchestrator.engines.replicas import Pools
from services.orchestrator.queue import Queue
from services.orchestrator.queue.queue import pool_key

if TYPE_CHECKING:  # the API reads this module too, and has no use for the openai SDK
    from services.orchestrator.engines.chat_sides import ChatSides

SIDE_NAMES: Mapping[str, str] = {USER: "simulator", ASSISTANT: "respondent"}


@dataclass(frozen=True)
class SideDescription:
    """One side as workers found it; the API reads it to check a run before it starts."""

    model: str
    tokenizer: str
    max_model_len: int


class Sides:
    """Builds speakers. Tokenizers are loaded once for each folder, models asked for once for each run.

    `tokenizers` and `models` are the worker's settings by role, for the engines that it was given: where the tokenizer
    is, if not at the model, and the model's name, where an engine serves several (one engine for both sides).
    `chat_sides` makes the speakers of sides that ask chat APIs.
    """

    def __init__(
        self,
        pools: Pools,
        tokenizers: Mapping[str, str | None],
        models: Mapping[str, str | None] | None = None,
        chat_sides: ChatSides | None = None,
    ) -> None:
        self.pools = pools
        self._tokenizer_sources = tokenizers
        self._models = models or {}
        self._chat_sides = chat_sides
        self._loaded: dict[str, HubTokenizer] = {}
        self._run_speakers: dict[str, Mapping[str, Speaker]] = {}

    async def publish(self, queue: Queue) -> None:
        """Tell the API what is served, so that it can check seeds and context before a run starts.

        Raises:
            SpeakerError: a side's engines do not answer yet.
        """
        for role, name in SIDE_NAMES.items():
            pool = self.pools.engines(role, "")
            if not pool.is_given:
                continue
            served = await pool.describe(self._models.get(role))
            source = self._tokenizer_sources[role] or served.root
            await queue.publish_side(name, asdict(SideDescription(served.id, source, served.max_model_len)))

    async def speakers(self, run_id: str, spec: RunSpec) -> Mapping[str, Speaker]:
        """Both sides of a run, by role.

        Raises:
            MisconfiguredError: a side serves another model, or one without a usable tokenizer; or one of its chat APIs
                refuses.
            SpeakerError: a side's engines or APIs do not answer; retryable.
        """
        known = self._run_speakers.get(run_id)
        if known is not None:
            return known
        asked = {USER: spec.simulator, ASSISTANT: spec.respondent}
        served = {role: await self._served(role, side) for role, side in asked.items() if not side.apis}
        outside = [role for role, side in asked.items() if side.apis]
        limits = [model.max_model_len for model in served.values()]
        limits += [limit for role in outside for limit in self._outside.context_tokens(spec, role)]
        context = min([spec.endings.context_tokens, *limits])
        tells_goodbye = spec.endings.goodbye_threshold is not None
        speakers: dict[str, Speaker] = {
            role: await self._speaker(role, asked[role], model, context, tells_goodbye=tells_goodbye)
            for role, model in served.items()
        }
        speakers |= await self._chat_speakers(run_id, spec, outside, context)
        self._run_speakers[run_id] = speakers
        return speakers

    def forget(self, active: set[str]) -> None:
        """Drop what is kept for runs that are over, or that wait: their engines may serve something else then."""
        for run_id in set(self._run_speakers) - active:
            del self._run_speakers[run_id]

    @property
    def _outside(self) -> ChatSides:
        assert self._chat_sides is not None, "a worker makes them"
        return self._chat_sides

    async def _chat_speakers(
        self, run_id: str, spec: RunSpec, roles: Sequence[str], context_tokens: int
    ) -> dict[str, Speaker]:
        """Speakers of the sides that ask chat APIs; both spend of one budget."""
        if not roles:
            return {}
        budget = self._outside.budget(run_id, spec)
        return {
            role: await self._outside.speaker(
                run_id, spec, role, SIDE_NAMES[role], context_tokens=context_tokens, budget=budget
            )
            for role in roles
        }

    async def _served(self, role: str, side: SideSpec) -> EngineModel:
        """The model that a side of a run speaks through: the spec's, or the worker's for its own engines."""
        model = side.model or (None if side.endpoints else self._models.get(role))
        return await self.pools.engines(role, pool_key(side)).describe(model)

    async def _speaker(
        self, role: str, side: SideSpec, served: EngineModel, context_tokens: int, *, tells_goodbye: bool
    ) -> TokenSpeaker:
        try:
            tokenizer = await self._tokenizer(self._source(role, side, served))
            return TokenSpeaker(
                profile=speaker_profile(side.profile),
                tokenizer=tokenizer,
                model=served.id,
                sampling=side.sampling,
                context_tokens=context_tokens,
                tells_goodbye=tells_goodbye,
            )
        except TokenizerError as error:
            raise MisconfiguredError(f"{SIDE_NAMES[role]} {served.id}: {error}") from error

    def _source(self, role: str, side: SideSpec, served: EngineModel) -> str:
        """Where a side's tokenizer comes from; the worker's own setting is for the engines that it was given."""
        given = None if side.endpoints else self._tokenizer_sources[role]
        return given or served.root

    async def _tokenizer(self, source: str) -> HubTokenizer:
        if source not in self._loaded:
            self._loaded[source] = await asyncio.to_thread(load_tokenizer, source)
        return self._loaded[source]
