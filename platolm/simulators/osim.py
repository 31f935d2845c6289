"""OSim: inverted roles, a description of the user as the system text, no goodbye.

Source: Zhou et al. 2026, "Building Foundation Models for Human Behavior Simulation".
"""

from __future__ import annotations

import re

from platolm.simulators.profile import SimulatorProfile
from platolm.simulators.told import Told
from platolm.simulators.view import Orientation


class Osim(SimulatorProfile):
    """The simulated user answers as the `assistant` of the model's own chat format."""

    name = "osim"
    about = "OSim: talks as the user who is described to it."
    model_ids = re.compile(r"^osim(?![a-z])")
    orientation = Orientation.INVERTED
    needs = ("persona", "profile", "intent", "goal")
    own_sampling = True

    def system_text(self, told: Told) -> str | None:
        return self.described(told)
