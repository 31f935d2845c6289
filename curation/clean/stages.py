"""What a cleaning stage is: a name, and a function from one dialogue to what becomes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from curation.dialogue import Dialogue


@dataclass(frozen=True, slots=True)
class Dropped:
    """A dialogue that goes no further. `reason` is one of the stage's few, counted; `detail` is of this dialogue."""

    reason: str
    detail: str = ""


Outcome = Dialogue | Dropped | tuple[Dialogue, ...]
"""The dialogue as it goes on (the same object where nothing changed), its end, or the several that it became."""


class Stage(Protocol):
    """One named step.

    A stage is pure: the same dialogue gives the same outcome, whatever came before it and in whichever process. It can
    be pickled; what it loads (a model, a tokenizer) it loads at its first dialogue, and leaves out of its pickle. It
    raises nothing because of what a dialogue says. Messages change through `Dialogue.with_messages`, which keeps the
    fields about them true.
    """

    @property
    def name(self) -> str:
        """As in the report and in `--no-NAME`, with underscores."""
        ...

    def apply(self, dialogue: Dialogue) -> Outcome:
        """What becomes of the dialogue."""
        ...
