"""USP: real roles, a profile of the user as the system text, no goodbye.

Source: Wang et al. 2025, "Know You First and Be You Better" (arXiv 2502.18968), and the code published with it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar

from platolm.simulators.formats import LLAMA3
from platolm.simulators.profile import SimulatorProfile
from platolm.simulators.told import Told

FRAME_BEGIN = "You are engaging in a conversation with an AI assistant. Your profile is: \n"
FRAME_END = "\n You can say anything you want, either based on the profile or something brand new."
"""What stands around every profile in the model's training, like the header of the dyadic format."""


class Usp(SimulatorProfile):
    """Told a profile in prose: first what its user is after, then how its user is."""

    name = "usp"
    about = "USP-8b: talks as the person whose profile it is given."
    model_ids = re.compile(r"^usp(?:-\d+b)?(?![a-z])")
    turn_format = LLAMA3
    needs = ("profile", "persona")
    told_order = ("profile", "persona", "intent", "goal", "system_prompt")
    sampling_defaults: ClassVar[Mapping[str, float]] = {"repetition_penalty": 1.2}

    def system_text(self, told: Told) -> str | None:
        text = self.described(told)
        if told.instruction is not None or text is None or text.startswith(FRAME_BEGIN.rstrip()):
            return text
        return FRAME_BEGIN + text + FRAME_END
