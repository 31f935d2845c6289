"""Simulator profiles: how each kind of user simulator is prompted, sampled, cleaned and kept from going astray."""

from __future__ import annotations

from collections.abc import Mapping

from platolm.simulators.osim import Osim
from platolm.simulators.profile import SimulatorProfile
from platolm.simulators.roleplay import RolePlay
from platolm.simulators.socratic import SOCRATIC_NEWLINE, Socratic
from platolm.simulators.told import Told
from platolm.simulators.userlm import UserLM
from platolm.simulators.usp import Usp

__all__ = ["PROFILES", "SimulatorProfile", "Told", "names", "profile_for"]

PROFILES: Mapping[str, SimulatorProfile] = {
    profile.name: profile
    for profile in (
        Socratic(),
        Socratic("socratic-newline", SOCRATIC_NEWLINE, "Socratic, with the header of its production backend."),
        UserLM(),
        Usp(),
        Osim(),
        RolePlay(),
    )
}
"""Every profile by its name; the first whose models an id belongs to is the one that is chosen for it."""


def names() -> list[str]:
    """The names that a run spec may give."""
    return list(PROFILES)


def profile_for(model_id: str) -> SimulatorProfile | None:
    """The profile of a trained simulator, by its model's id or folder; None where the id tells nothing.

    A chat model is no simulator by itself: `roleplay` has to be asked for.
    """
    last = model_id.replace("\\", "/").rstrip("/").rpartition("/")[2].lower()
    matching = (p for p in PROFILES.values() if p.model_ids is not None and p.model_ids.search(last))
    return next(matching, None)
