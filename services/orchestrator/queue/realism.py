"""What Redis keeps of a run's realism: a few fields of the run's hash, however many conversations there are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import orjson

from platolm.realism import FIGURES
from platolm.realism_limits import OutOfBounds
from platolm.runs import RealismProgress

_MEASURED = "realism"
_OUTSIDE = {figure: f"outside:{figure}" for figure in FIGURES}

REALISM_FIELDS = (_MEASURED, *_OUTSIDE.values())
"""Fields of a run's hash: what was measured last, and for each figure that is out of its bounds what was found when it
left them."""


@dataclass(frozen=True)
class RealismReport:
    """What a writer tells of a run's realism. `conversations` are measured, of which `figures` are.

    `judged` names the figures that were compared with their bounds, each with what is wrong with it, in words; empty
    where nothing is. `then` is what is to be done about one that was within its bounds so far.
    """

    conversations: int
    figures: Mapping[str, float]
    judged: Mapping[str, str] = field(default_factory=dict)
    then: OutOfBounds = OutOfBounds.WARN

    def arguments(self) -> Iterator[str | int | bytes]:
        """As the script takes them: conversations, what to keep, what to do, how many are judged, and each of those."""
        yield self.conversations
        yield orjson.dumps({"conversations": self.conversations, "figures": dict(self.figures)})
        yield self.then.value
        yield len(self.judged)
        for figure, wrong in self.judged.items():
            yield figure
            yield wrong


NO_REPORT = (-1, "", OutOfBounds.WARN.value, 0)
"""The same where there is nothing to tell."""


def realism_of(fields: Mapping[str, str | None]) -> RealismProgress | None:
    """What `REALISM_FIELDS` of a run's hash say; None until something was measured."""
    measured = fields.get(_MEASURED)
    if not measured:
        return None
    outside = {figure: wrong for figure, name in _OUTSIDE.items() if (wrong := fields.get(name))}
    return RealismProgress(**orjson.loads(measured), out_of_bounds=outside)
