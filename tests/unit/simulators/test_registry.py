"""Which profiles there are, and which model is whose."""

from __future__ import annotations

import pytest

from platolm.simulators import PROFILES, names, profile_for


def test_every_profile_is_there_by_its_name() -> None:
    assert names() == ["socratic", "socratic-newline", "userlm", "usp", "osim", "roleplay"]
    assert [profile.name for profile in PROFILES.values()] == names()


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("microsoft/UserLM-8b", "userlm"),
        ("someone/UserLM-8b-GGUF", "userlm"),
        ("/models/userlm-8b/", "userlm"),
        ("C:\\models\\UserLM-8b", "userlm"),
        ("wangkevin02/USP", "usp"),
        ("models/usp-8b", "usp"),
        ("cmu-lti/osim-8b", "osim"),
        ("cmu-lti/osim-4b-mid", "osim"),
        ("FreedomIntelligence/Socratic-7B", "socratic"),
        ("models/demo/socratic", "socratic"),
        ("demo-socratic", "socratic"),
        ("socratic-v2", "socratic"),
    ],
)
def test_a_trained_simulator_is_known_by_its_id(model_id: str, name: str) -> None:
    profile = profile_for(model_id)
    assert profile is not None
    assert profile.name == name


@pytest.mark.parametrize(
    "model_id",
    [
        "",
        "/",
        "Qwen/Qwen3-8B",
        "gpt-4o",
        "userlm/other-model",
        "acme/uspto-classifier",
        "acme/cosim-8b",
        "acme/osimage",
        "acme/SocraticLM",
        "models/demo/platolm",
    ],
)
def test_another_model_is_not(model_id: str) -> None:
    assert profile_for(model_id) is None
