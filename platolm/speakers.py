"""Who makes the next utterance: ids in, ids out over an engine's completions route."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import orjson

from platolm.completions import Completion
from platolm.dyadic import Turn
from platolm.endings import FinishReason
from platolm.engine_client import EngineClient, RequestBody
from platolm.errors import SpeakerError
from platolm.goodbyes import LIKELIEST, goodbye_probability
from platolm.sampling import Sampling
from platolm.simulators.dyadic_prompts import DyadicPrompts
from platolm.simulators.prompts import GrownPrompt, Prompts
from platolm.simulators.told import NOTHING_TOLD, Told
from platolm.speaker_profile import SpeakerProfile
from platolm.tokenizer import HubTokenizer
from platolm.utterances import Utterance

_STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


@dataclass(frozen=True)
class TokenSpeaker:
    """One side of a run's conversations, prompted with ids that this process composed.

    `context_tokens` bounds prompt plus utterance. `tells_goodbye`: how likely each utterance was to be a goodbye is
    asked for, where that is one token.
    """

    profile: SpeakerProfile
    tokenizer: HubTokenizer
    model: str
    sampling: Sampling
    context_tokens: int
    tells_goodbye: bool = False
    prompts: Prompts = field(init=False, repr=False, compare=False)
    _request: dict[str, Any] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        prompts = self.profile.prompts(self.tokenizer)
        asked = {**_sampling_fields(self.sampling), **_stops(self.profile, prompts, self.tokenizer)}
        if self.tells_goodbye and prompts.goodbye_ids:
            asked["logprobs"] = LIKELIEST
        object.__setattr__(self, "prompts", prompts)
        object.__setattr__(self, "_request", {"model": self.model, **asked})

    @property
    def role(self) -> str:
        return self.profile.role

    def model_of(self, api: str | None) -> str:
        """The engine's model."""
        return self.model

    def new_prompt(self, told: Told = NOTHING_TOLD) -> GrownPrompt:
        """An empty conversation as this side sees it."""
        return self.prompts.new(told)

    def prompt(self, turns: Sequence[Turn], told: Told = NOTHING_TOLD) -> list[int]:
        """Ids after which this side speaks next."""
        return self.prompts.ids(turns, told)

    def num_tokens(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer.encode(text))

    def text_so_far(self, said: Sequence[int]) -> str:
        """What is certain to be kept of an utterance that has come to these ids."""
        return self.profile.stream_cleaner().feed(self.tokenizer.decode(said))

    def room(self, prompt: Sequence[int] | GrownPrompt) -> int:
        """Tokens left for the utterance, its eos included; none or less: the context is full."""
        return self.context_tokens - len(prompt)

    async def speak(
        self,
        place: EngineClient,
        prompt: Sequence[int] | GrownPrompt,
        *,
        seed: int,
        show: Callable[[list[int]], None] | None = None,
    ) -> Utterance:
        """Generate one utterance. With `show` it is streamed, and `show` called with all ids so far as they come.

        Only the request's bytes are held while the engine works: thousands of conversations wait in one process.

        The engine clamps silently when prompt and `max_tokens` exceed its limit and says `length` for that too, so
        that the cause is told from our own arithmetic.

        Raises:
            SpeakerError: the engine refused, failed or did not answer.
        """
        room = self.room(prompt)
        assert room > 0, "the caller ends a conversation whose context is full"
        max_tokens = min(self.sampling.max_tokens, room)
        started = time.monotonic()
        if show is None:
            completion = await place.complete(self._body(prompt, max_tokens, seed))
        else:
            completion = await self._streamed(place, self._body(prompt, max_tokens, seed, **_STREAMED), show)
        ids = self.profile.spoken_ids(self._checked(completion.token_ids), self.prompts)
        said = self.profile.clean(self.tokenizer.decode(ids))
        return Utterance(
            content=said.content,
            token_ids=ids,
            num_prompt_tokens=len(prompt),
            finish_reason=_finish_reason(completion.finish_reason, max_tokens, self.sampling.max_tokens),
            duration_s=round(time.monotonic() - started, 3),
            num_cached_tokens=completion.num_cached_tokens,
            end=said.end,
            marker=said.marker,
            intact=said.intact,
            goodbye_probability=self._goodbye_probability(completion),
        )

    def _goodbye_probability(self, completion: Completion) -> float | None:
        if completion.top_logprobs is None or not self.prompts.goodbye_ids:
            return None
        markers = map(self.tokenizer.token_of, self.prompts.goodbye_ids)
        return round(goodbye_probability(completion.top_logprobs, markers), 6)

    async def _streamed(self, engine: EngineClient, body: RequestBody, show: Callable[[list[int]], None]) -> Completion:
        so_far: list[int] = []

        def take(new_ids: list[int]) -> None:
            so_far.extend(self._checked(new_ids))
            show(so_far)

        return await engine.complete_streaming(body, take)

    def _checked(self, ids: list[Any]) -> list[int]:
        """Generated ids that are ids of this tokenizer.

        Raises:
            SpeakerError: they are something else; retryable.
        """
        vocab_size = self.tokenizer.vocab_size
        if not all(type(token_id) is int and 0 <= token_id < vocab_size for token_id in ids):
            raise SpeakerError(f"model {self.model} gave ids that its tokenizer does not have", retryable=True)
        return ids

    def _body(self, prompt: Sequence[int] | GrownPrompt, max_tokens: int, seed: int, **options: Any) -> RequestBody:
        ids = array("i", prompt) if isinstance(prompt, Sequence) else prompt.packed()
        numbers = np.frombuffer(ids, dtype=ids.typecode)  # serialised without a Python object for each
        request = {**self._request, "prompt": numbers, "max_tokens": max_tokens, "seed": seed, **options}
        return RequestBody(orjson.dumps(request, option=orjson.OPT_SERIALIZE_NUMPY))


def _sampling_fields(sampling: Sampling) -> dict[str, Any]:
    """What a request says of sampling; extensions only where they are used, since not every engine knows them."""
    unused = {"top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}
    said = {name: value for name, value in sampling.said().items() if name not in unused or value != unused[name]}
    return {**said, "return_token_ids": True}


def _stops(profile: SpeakerProfile, prompts: Prompts, tokenizer: HubTokenizer) -> dict[str, Any]:
    """Where the engine is to stop besides its model's own eos: at ids, and at goodbyes that take several.

    The dyadic format needs neither: an eos follows whatever is said.
    """
    ids = [token_id for token_id in prompts.stop_ids if token_id != tokenizer.eos_id]
    stops: dict[str, Any] = {"stop_token_ids": ids} if ids else {}
    spelled = [marker for marker in profile.end_markers if tokenizer.id_of(marker) is None]
    if spelled and not isinstance(prompts, DyadicPrompts):
        stops["stop"] = spelled
    return stops


def _finish_reason(reported: str | None, max_tokens: int, wanted_tokens: int) -> FinishReason:
    if reported == "stop":
        return FinishReason.STOP
    return FinishReason.LENGTH if max_tokens == wanted_tokens else FinishReason.CONTEXT
