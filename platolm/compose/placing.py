"""Which engine stands on which GPU, and how much of that card's memory it takes."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from platolm.errors import InputError

SIMULATOR, RESPONDENT = "simulator", "respondent"
"""Names of the two engine services in the Compose files."""

_GPU = re.compile(r"[0-9]+|(GPU|MIG)-[0-9A-Za-z/-]+")


@dataclass(frozen=True)
class PlacedEngine:
    """One engine on its GPU; `memory` is the share of the card's memory that it takes."""

    side: str
    number: int
    gpu: str
    memory: float

    @property
    def service(self) -> str:
        """Name of its own service, `simulator-0`."""
        return f"{self.side}-{self.number}"


def place_engines(
    simulators: int, respondents: int, gpus: Sequence[str] = (), *, share: bool = False, memory: float = 0.9
) -> list[PlacedEngine]:
    """The engines in turn on the GPUs in turn, simulators first: shared cards get one of each side where they can.

    Args:
        gpus: indices or UUIDs as `nvidia-smi -L` names them. None: counted from 0, one for each engine, or with
            `share` one for each pair.
        share: whether several engines may stand on one GPU.
        memory: share of a card's memory that its engines take together.

    Raises:
        InputError: there are more engines than GPUs, and they may not share.
    """
    sides = [(SIMULATOR, number) for number in range(simulators)]
    sides += [(RESPONDENT, number) for number in range(respondents)]
    num_cards = max(simulators, respondents) if share else len(sides)
    cards = list(gpus) or [str(number) for number in range(num_cards)]
    if len(sides) > len(cards) and not share:
        raise InputError(
            f"{len(sides)} engines, but --gpus names {len(cards)}: name one for each, or let engines stand together "
            "with --share"
        )
    chosen = [cards[position % len(cards)] for position in range(len(sides))]
    together = Counter(chosen)
    return [
        PlacedEngine(side, number, gpu, _share_of(memory, together[gpu]))
        for (side, number), gpu in zip(sides, chosen, strict=True)
    ]


def parse_gpus(text: str) -> list[str]:
    """`0,1,2` or UUIDs as a list.

    Raises:
        InputError: one is no GPU's name, or is named twice.
    """
    gpus = [part.strip() for part in text.split(",")]
    for gpu in gpus:
        if not _GPU.fullmatch(gpu):
            raise InputError(f"{gpu!r} is no GPU: give indices or UUIDs as `nvidia-smi -L` names them, --gpus 0,1")
        if gpus.count(gpu) > 1:
            raise InputError(f"GPU {gpu} is named twice: give each once; --share lets several engines stand on it")
    return gpus


def _share_of(memory: float, engines: int) -> float:
    """Rounded down to a hundredth, so that the engines of a card never ask for more than `memory` together."""
    return math.floor(round(memory / engines * 100, 6)) / 100
