"""What goes through Redis' channels, and the server-sent events that become of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import orjson

from platolm.runs import conversation_id

ENDED = "ended"
"""In a run's channel, in the place of a turn's index."""


def event(name: str, data: bytes) -> bytes:
    """A server-sent event; `data` is JSON, and so one line."""
    return b"event: " + name.encode() + b"\ndata: " + data + b"\n\n"


@dataclass(frozen=True)
class RunMessage:
    """`INDEX TURN_INDEX TURN` or `INDEX ended REASON`, as scripts publish them in a run's channel.

    Only the index is looked at until more is asked for: most messages are of no interest to most readers.
    """

    run_id: str
    text: str

    @cached_property
    def _parts(self) -> list[str]:
        return self.text.split(" ", 2)

    @property
    def index(self) -> int:
        return int(self._parts[0])

    @property
    def is_ending(self) -> bool:
        return self._parts[1] == ENDED

    @property
    def turn_index(self) -> int:
        return int(self._parts[1])

    @property
    def turn(self) -> bytes:
        """As the worker recorded it, in JSON."""
        return self._parts[2].encode()

    @cached_property
    def event(self) -> bytes:
        """As `platolm.live_api.LiveTurn` or `EndedEvent`."""
        whose = {
            "run_id": self.run_id,
            "conversation_id": conversation_id(self.run_id, self.index),
            "index": self.index,
        }
        if self.is_ending:
            return event(ENDED, orjson.dumps({**whose, "termination_reason": self._parts[2]}))
        turn = orjson.loads(self._parts[2])
        said = {"turn_index": self.turn_index, "role": turn["role"], "content": turn["content"]}
        return event("turn", orjson.dumps({**whose, **said}))


def partial_message(turn_index: int, role: str, text: str) -> str:
    """What a worker publishes of an utterance in the making: `TURN_INDEX JSON`."""
    data = orjson.dumps({"turn_index": turn_index, "role": role, "text": text})
    return f"{turn_index} {data.decode()}"


def partial_event(message: str) -> tuple[int, bytes]:
    """The turn's index, and the event of a `platolm.live_api.PartialEvent`."""
    turn_index, _, data = message.partition(" ")
    return int(turn_index), event("partial", data.encode())
