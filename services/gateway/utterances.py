"""From what the engine generated to what was said: cleaned, and how it ended; whole, or as it streams."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, Field

from platolm.completions import top_logprobs
from platolm.conversation import USER
from platolm.goodbyes import goodbye_probability
from platolm.simulators.cleaning import Cleaned, End, StreamCleaner
from platolm.simulators.guardrails import Fault, Step
from services.gateway.chat import ENDING
from services.gateway.sides import Asked, Side

Json = dict[str, Any]
CountFault = Callable[[Fault, Step], None]


class Why(StrEnum):
    """Why a conversation is over."""

    GOODBYE = "goodbye"
    """The user said so: an end marker of the simulator's profile, which is cut off."""
    BLANK = "blank"
    """The user says nothing."""
    CONTEXT_FULL = "context_full"
    """The utterance was cut off by the end of the model's context."""
    ROLE_SLIP = "role_slip"
    """The simulator kept speaking as the assistant: what it said is left out."""
    REASONING_LEAK = "reasoning_leak"
    """The simulator kept thinking aloud about its task: what it said is left out."""


class Ending(BaseModel):
    """`platolm` of a choice, in a stream of its last chunk: whether the conversation is over, and what went wrong."""

    ended: bool = False
    why: Why | None = None
    faults: dict[Fault, int] = Field({}, description="faults of all tries at this utterance, by kind")
    goodbye_probability: float | None = Field(
        None, description="where it was asked for and is known: how likely a goodbye was, at a temperature of 1"
    )

    @classmethod
    def of(cls, why: Why | None, faults: Mapping[Fault, int], goodbye: float | None = None) -> Ending:
        return cls(ended=why is not None, why=why, faults=dict(faults), goodbye_probability=goodbye)

    @property
    def json_object(self) -> Json:
        return self.model_dump(mode="json")


@dataclass(frozen=True)
class Heard:
    """An utterance at its end. `rest` is the content that `Hearing.feed` had not given out."""

    rest: str
    cleaned: Cleaned
    why: Why | None
    goodbye_probability: float | None = None


class Hearing:
    """One utterance as it comes from the engine.

    `fills_context`: its limit of new tokens is the end of the context, not what was asked for.
    """

    def __init__(self, side: Side, *, fills_context: bool) -> None:
        self._side = side
        self._fills_context = fills_context
        self._cleaner: StreamCleaner = side.cleaner()
        self._given: list[str] = []
        self._likeliest: list[dict[str, float]] | None = None

    def feed(self, choice: Mapping[str, Any]) -> str:
        """Take in a part; gives what is certain to be kept."""
        likeliest = top_logprobs(choice)
        if likeliest is not None:
            self._likeliest = self._likeliest or []
            self._likeliest += likeliest
        given = self._cleaner.feed(choice["text"])
        self._given.append(given)
        return given

    def close(self, choice: Mapping[str, Any]) -> Heard:
        """The engine is done; `choice` says why. It took off the goodbye that it stopped at: the cleaner gets it."""
        given = "".join(self._given)
        marker = self._side.marker_of(choice.get("stop_reason"))
        last = self._cleaner.feed(marker) if marker is not None else ""
        closed = self._cleaner.close()
        rest = last + closed.content
        cleaned = Cleaned(given + rest, closed.end, closed.marker, closed.intact)
        return Heard(rest, cleaned, self._why(cleaned, choice["finish_reason"]), self._goodbye_probability())

    def _goodbye_probability(self) -> float | None:
        if self._likeliest is None or not self._side.goodbyes:
            return None
        return round(goodbye_probability(self._likeliest, self._side.goodbyes), 6)

    def _why(self, cleaned: Cleaned, finish_reason: str | None) -> Why | None:
        if cleaned.end is End.MARKER:
            return Why.GOODBYE
        if finish_reason == "length":
            return Why.CONTEXT_FULL if self._fills_context else None
        is_blank = self._side.speaker == USER and not cleaned.content.strip()
        return Why.BLANK if is_blank and finish_reason == "stop" else None


class HeardStream:
    """The engine's events with their texts cleaned, and the ending in the last one of each choice."""

    def __init__(self, side: Side, asked: Asked, *, fills_context: bool, count: CountFault) -> None:
        self._side = side
        self._asked = asked
        self._fills_context = fills_context
        self._count = count
        self._hearings: dict[int, Hearing] = {}

    def of(self, event: Mapping[str, Any]) -> Json:
        """The event as it is to be shown."""
        return {**event, "choices": [self._choice(choice) for choice in event["choices"]]}

    def _choice(self, choice: Mapping[str, Any]) -> Json:
        index = choice["index"]
        if index not in self._hearings:
            self._hearings[index] = Hearing(self._side, fills_context=self._fills_context)
        text = self._hearings[index].feed(choice)
        if choice["finish_reason"] is None:
            return {**choice, "text": text}
        heard = self._hearings[index].close(choice)
        ending = Ending.of(heard.why, self._faults(heard), heard.goodbye_probability)
        return {**choice, "text": text + heard.rest, ENDING: ending.json_object}

    def _faults(self, heard: Heard) -> dict[Fault, int]:
        """What was shown cannot be taken back: a fault is told and counted."""
        fault = self._side.fault_of(heard.cleaned, self._asked)
        if fault is None:
            return {}
        self._count(fault, Step.TAKE)
        return {fault: 1}
