"""Figures that others published, to be put beside a dataset's; only those that we measure too.

PlatoLM's table is from the outputs stored in its repository (Kong et al. 2024, arXiv 2308.11534). UserLM's are of its
paper (Naous et al. 2025, arXiv 2510.06552), on other conversations and with other tokenisation: compare with care.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

CONVERSATIONS = "conversations"
"""Key of the number of conversations; the other keys are measures'."""

SIZES = (CONVERSATIONS, "rounds", "tokens_utterance", "tokens_conversation")
"""Columns of PlatoLM's table."""


@dataclass(frozen=True)
class Published:
    """A dataset or a simulator, with its figures by key."""

    name: str
    figures: Mapping[str, float]


def _sizes(name: str, *values: float) -> Published:
    return Published(name, dict(zip(SIZES, values, strict=True)))


PLATOLM_SETS = (
    _sizes("SocraticChat", 20_039, 5.37, 203.1, 2183.7),
    _sizes("ShareGPT, unsplit", 20_039, 5.85, 207.2, 2424.7),
    _sizes("Wizard-seeded", 10_000, 3.79, 278.8, 2112.3),
    _sizes("Dolly-seeded", 10_000, 8.30, 120.5, 2003.1),
    _sizes("UltraChat", 10_000, 3.85, 187.2, 1442.0),
    _sizes("Baize", 10_000, 3.79, 34.6, 263.1),
    _sizes("Vicuna's training set", 10_000, 3.07, 185.2, 1136.7),
)

USERS = (
    Published("people", {"first_turn_diversity": 94.01}),
    Published("UserLM-8b", {"first_turn_diversity": 94.55, "intent_overlap": 2.69, "end_f1": 63.54}),
    Published("GPT-4o as a user", {"first_turn_diversity": 74.42}),
)

NOT_MEASURED = (
    "UserLM-8b: naturalness 80.21, role adherence 93.95, intent adherence 94.65 (by its paper's classifier and judges)",
)
