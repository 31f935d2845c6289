"""Socratic, the simulator of PlatoLM: the dyadic format, opening by itself, with no end but a full context.

Source: Kong et al. 2024 (arXiv 2308.11534). Its training code joined the header's two sentences with a space, its
production backend with a line break: `socratic` and `socratic-newline`.
"""

from __future__ import annotations

import re
from dataclasses import replace

from platolm.dyadic import SOCRATIC, DyadicProfile
from platolm.simulators.cleaning import Cleaning
from platolm.simulators.dyadic_prompts import DyadicPrompts
from platolm.simulators.formats import PromptTokenizer
from platolm.simulators.guardrails import NO_GUARDRAILS
from platolm.simulators.profile import SimulatorProfile
from platolm.simulators.told import Told
from platolm.simulators.view import Orientation

SOCRATIC_NEWLINE = replace(SOCRATIC, header=SOCRATIC.header.replace("assistant. The", "assistant.\nThe", 1))
"""The header of the original's production backend."""


END_MARKERS = ("<e>",)
"""How it says that it has nothing more to ask (experimental in the original)."""


class Socratic(SimulatorProfile):
    """What it writes is kept as it is, so that the ids of a prompt are those of training."""

    model_ids = re.compile(r"(?<![a-z])socratic(?![a-z])")
    orientation = Orientation.DYADIC
    cleaning = Cleaning(END_MARKERS, strips=False, drops_thought=False)
    guardrails = NO_GUARDRAILS

    def __init__(self, name: str = "socratic", dyadic: DyadicProfile = SOCRATIC, about: str | None = None) -> None:
        self.name = name
        self.about = about or "Socratic of PlatoLM: opens by itself, and goes on until the context is full."
        self.dyadic = dyadic

    def system_text(self, told: Told) -> str | None:
        """Appended to the header's sentence."""
        return self.described(told, joined_by=" ")

    def prompts(self, tokenizer: PromptTokenizer) -> DyadicPrompts:
        return DyadicPrompts(self.dyadic, tokenizer, self.system_text, self.end_markers)
