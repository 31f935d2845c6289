"""Who speaks on a server: how its prompt is made, where the engine is to stop, and what becomes of its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Protocol

import structlog

from platolm import simulators
from platolm.conversation import ASSISTANT, SYSTEM, USER, Message
from platolm.errors import SpecError, TokenizerError
from platolm.respondents import RESPONDENTS, Chat, PlatoLM, RespondentProfile
from platolm.simulators import SimulatorProfile
from platolm.simulators.cleaning import Cleaned, StreamCleaner
from platolm.simulators.formats import PromptTokenizer, format_of
from platolm.simulators.guardrails import Fault
from platolm.simulators.told import NOTHING_TOLD, Told, told_and_spoken
from platolm.simulators.view import Orientation
from services.gateway.errors import RequestError
from services.gateway.prompts import check_next_speaker
from services.gateway.settings import GatewaySettings

logger = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Asked:
    """A conversation that is to be continued: the prompt's ids, and what guardrails look at.

    An end before `min_turns` utterances is made again. `tells_goodbye`: how likely a goodbye was is asked for.
    """

    ids: list[int]
    spoken: tuple[Message, ...] = ()
    told: Told = NOTHING_TOLD
    min_turns: int = 0
    tells_goodbye: bool = False

    @property
    def is_early(self) -> bool:
        """Whether the utterance that is asked for comes too early to be the last."""
        return len(self.spoken) + 1 < self.min_turns


class Side(Protocol):
    """One side of a conversation, in the ids of one tokenizer.

    `stop_ids` and `stop_strings` are where the engine is to stop, `turn_end_ids` those of the first that only end an
    utterance. `goodbyes` are end markers that are one token, as the engine spells them. `default_sampling` is what a
    request that says nothing of sampling gets.
    """

    speaker: str
    profile_name: str
    turn_end_ids: tuple[int, ...]
    stop_ids: tuple[int, ...]
    stop_strings: tuple[str, ...]
    goodbyes: tuple[str, ...]
    default_sampling: Mapping[str, Any]

    def read(self, messages: Sequence[Message], told: Told) -> Asked:
        """The conversation as a prompt.

        Raises:
            RequestError: 400, it is not this side's turn, or it lacks what this side has to be told.
        """

    def cleaner(self) -> StreamCleaner:
        """For one utterance."""

    def marker_of(self, stop_reason: object) -> str | None:
        """The goodbye that the engine stopped at, and took off."""

    def fault_of(self, said: Cleaned, asked: Asked) -> Fault | None:
        """What is wrong with an utterance."""


class Respondent:
    """The assistant's side, as its profile says; what it writes is kept as it is.

    Raises:
        TokenizerError: the tokenizer lacks control tokens that the profile's prompt is made of.
    """

    speaker = ASSISTANT
    stop_strings: tuple[str, ...] = ()
    goodbyes: tuple[str, ...] = ()

    def __init__(self, profile: RespondentProfile, tokenizer: PromptTokenizer, sampling: Mapping[str, Any]) -> None:
        self.profile_name = profile.name
        self._profile = profile
        self._prompts = profile.prompts(tokenizer)
        self.turn_end_ids = self._prompts.turn_end_ids
        self.stop_ids = self._prompts.stop_ids
        self.default_sampling = sampling

    def read(self, messages: Sequence[Message], told: Told) -> Asked:
        check_next_speaker(messages, self.speaker)
        if isinstance(self._profile, PlatoLM):
            messages = with_one_system_text(messages)
        told, spoken = told_and_spoken(messages, told)
        return Asked(self._prompts.ids(spoken, told))

    def cleaner(self) -> StreamCleaner:
        return self._profile.stream_cleaner()

    def marker_of(self, stop_reason: object) -> str | None:
        return None

    def fault_of(self, said: Cleaned, asked: Asked) -> Fault | None:
        return None


class Simulator:
    """The user's side, as its profile says.

    Raises:
        TokenizerError: the tokenizer lacks control tokens that the profile's prompt is made of.
    """

    speaker = USER

    def __init__(self, profile: SimulatorProfile, tokenizer: PromptTokenizer, sampling: Mapping[str, Any]) -> None:
        self.profile_name = profile.name
        self._profile = profile
        self._prompts = profile.prompts(tokenizer)
        self.turn_end_ids = self._prompts.turn_end_ids
        self.stop_ids = self._prompts.stop_ids
        self.stop_strings = profile.end_markers
        self.default_sampling = sampling
        ids: dict[object, str] = {
            i: marker for marker in profile.end_markers if (i := tokenizer.id_of(marker)) is not None
        }
        self.goodbyes = tuple(ids.values())
        self._markers: dict[object, str] = {marker: marker for marker in profile.end_markers} | ids

    def read(self, messages: Sequence[Message], told: Told) -> Asked:
        check_next_speaker(messages, self.speaker)
        if self._profile.orientation is Orientation.DYADIC:
            messages = with_one_system_text(messages)
        told, spoken = told_and_spoken(messages, told)
        if (lack := self._profile.lacks(told)) is not None:
            raise RequestError(
                400,
                f"This simulator ({self.profile_name}) has to be told its user's {lack}: "
                "begin the messages with a system message that says it, or send `told`.",
                code="nothing_told",
                param="messages",
            )
        try:
            return Asked(self._prompts.ids(spoken, told), tuple(spoken), told)
        except SpecError as error:
            raise RequestError(400, "; ".join(str(problem) for problem in error.problems), param="told") from error

    def cleaner(self) -> StreamCleaner:
        return self._profile.stream_cleaner()

    def marker_of(self, stop_reason: object) -> str | None:
        return self._markers.get(stop_reason)

    def fault_of(self, said: Cleaned, asked: Asked) -> Fault | None:
        told = asked.told
        known = told if told.intent else replace(told, intent=told.system_prompt)  # where an application puts it
        return self._profile.fault_of(said, asked.spoken, known, min_turns=asked.min_turns)


def with_one_system_text(messages: Sequence[Message]) -> Sequence[Message]:
    """Several system messages stand in the dyadic header with a space between, as in training."""
    texts = [message.content for message in messages if message.role == SYSTEM]
    if len(texts) < 2:
        return messages
    return [Message(SYSTEM, " ".join(texts)), *(message for message in messages if message.role != SYSTEM)]


def side_of(settings: GatewaySettings, tokenizer: PromptTokenizer) -> Side:
    """The side that a server's settings name.

    Raises:
        TokenizerError: see `Simulator` and `Respondent`.
    """
    name = settings.profile_name
    if name in simulators.PROFILES:
        profile = simulators.PROFILES[name]
        return Simulator(profile, tokenizer, default_sampling(settings, profile, profile.sampling_defaults))
    respondent = RESPONDENTS[name]
    return Respondent(respondent, tokenizer, default_sampling(settings, respondent))


def default_sampling(
    settings: GatewaySettings,
    profile: SimulatorProfile | RespondentProfile,
    profiles_own: Mapping[str, float | int] = MappingProxyType({}),
) -> dict[str, Any]:
    """What the operator set, then the profile's defaults, then the project's; those not, where it leaves them to the
    model.
    """
    explicit = {name: value for name, value in _said_in(settings).items() if name in settings.model_fields_set}
    unsaid: Mapping[str, Any] = {} if profile.own_sampling else _said_in(settings)
    return {**unsaid, **profiles_own, **explicit}


def _said_in(settings: GatewaySettings) -> dict[str, Any]:
    return {"temperature": settings.temperature, "top_p": settings.top_p}


def warn_of_another_format(settings: GatewaySettings, tokenizer: PromptTokenizer) -> None:
    """Say so where a model that looks like any chat model is prompted as PlatoLM."""
    model = settings.model
    if settings.profile_name != PlatoLM.name or model is None or PlatoLM.name in model.lower():
        return
    try:
        form = format_of(tokenizer)
    except TokenizerError:
        return
    logger.warning(
        "chat_model_prompted_as_platolm",
        model=model,
        format=form.name,
        hint=f"unless it was trained in the dyadic format, set the profile to {Chat.name}",
    )
