"""HTTP of profiles: whom a run can have speak."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter

from platolm.respondents import RESPONDENTS, RespondentProfile
from platolm.runs_api import ProfileChoice, ProfileList
from platolm.sampling import Sampling
from platolm.simulators import PROFILES as SIMULATORS
from platolm.simulators import SimulatorProfile

router = APIRouter(prefix="/v1/profiles", tags=["runs"])


@router.get("")
async def list_profiles() -> ProfileList:
    """The names that a spec takes as `simulator.profile` and `respondent.profile`, and what they stand for."""
    return ProfileList(
        simulators=[_choice(profile, profile.needs) for profile in SIMULATORS.values()],
        respondents=[_choice(profile) for profile in RESPONDENTS.values()],
    )


def _choice(profile: SimulatorProfile | RespondentProfile, needs: Sequence[str] = ()) -> ProfileChoice:
    sampling = profile.sampling(Sampling()).said()
    return ProfileChoice(name=profile.name, about=profile.about, needs=list(needs), sampling=sampling)
