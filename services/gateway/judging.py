"""A whole utterance judged by its side's guardrails, and made again while there is a fault and a try left."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from platolm.simulators.guardrails import Fault, Step, Tries
from services.gateway.chat import ENDING
from services.gateway.sides import Asked, Side
from services.gateway.utterances import CountFault, Ending, Heard, Hearing, Why

Json = dict[str, Any]
Complete = Callable[[Mapping[str, Any]], Awaitable[Json]]

_SEED_STEP = 0x9E37_79B9_7F4A_7C15
"""Far enough that the next seed that an application counts to is not met."""


@dataclass(frozen=True)
class Judge:
    """What is asked of the engine for one request, and how its answers are judged.

    `complete` gives the engine's whole reply to a body.
    """

    complete: Complete
    side: Side
    asked: Asked
    fills_context: bool
    retries: int
    count: CountFault

    async def reply(self, body: Mapping[str, Any]) -> Json:
        """The engine's reply with its choices cleaned; `usage` counts what every try generated.

        Raises:
            RequestError: see `EngineClient.complete`.
        """
        reply = await self.complete(body)
        usage = dict(reply["usage"])
        choices = [await self._settled(choice, body, usage) for choice in reply["choices"]]
        return {**reply, "choices": choices, "usage": usage}

    async def _settled(self, choice: Json, body: Mapping[str, Any], usage: Json) -> Json:
        tries = Tries(0 if body.get("temperature") == 0 else self.retries)  # greedy says the same again
        num_made = 1
        while True:
            heard = self._heard(choice)
            fault = self._fault_of(heard)
            step = tries.judge(fault, is_wanted=not (heard.why is Why.BLANK and self.asked.is_early))
            if fault is not None:
                self.count(fault, step)
            if step is not Step.RETRY:
                return _shown(choice, heard, fault if step is Step.DROP else None, tries)
            again = await self.complete(_again(body, num_made))
            num_made += 1
            _add_usage(usage, again["usage"])
            choice = {**again["choices"][0], "index": choice["index"]}

    def _heard(self, choice: Json) -> Heard:
        hearing = Hearing(self.side, fills_context=self.fills_context)
        begun = hearing.feed(choice)
        heard = hearing.close(choice)
        return replace(heard, rest=begun + heard.rest)

    def _fault_of(self, heard: Heard) -> Fault | None:
        return None if heard.why is Why.CONTEXT_FULL else self.side.fault_of(heard.cleaned, self.asked)


def _shown(choice: Json, heard: Heard, dropped_for: Fault | None, tries: Tries) -> Json:
    """The choice as it is answered; nothing is left of an utterance that is dropped."""
    why = heard.why if dropped_for is None else Why(dropped_for.value)
    text = heard.rest if dropped_for is None else ""
    ending = Ending.of(why, tries.faults, heard.goodbye_probability)
    return {**choice, "text": text, ENDING: ending.json_object}


def _again(body: Mapping[str, Any], num_made: int) -> Json:
    """The same request for one choice, with another seed where it has one."""
    seed = body.get("seed")
    other = {} if seed is None else {"seed": (seed + num_made * _SEED_STEP) % 2**63}
    return {**body, "n": 1, **other}


def _add_usage(usage: Json, more: Mapping[str, Any]) -> None:
    """Generated tokens of another try; the prompt is counted once."""
    usage["completion_tokens"] += more["completion_tokens"]
    usage["total_tokens"] += more["completion_tokens"]
