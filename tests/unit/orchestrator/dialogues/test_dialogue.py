"""What a talk makes of an utterance's end."""

from __future__ import annotations

import pytest

from platolm.simulators.cleaning import End
from services.orchestrator.dialogues.dialogue import _goodbye, _Heard


@pytest.mark.parametrize(
    ("told", "profile", "end"),
    [
        (End.BLANK, "userlm", End.BLANK),
        (End.BLANK, "socratic", None),
        (End.BLANK, None, End.BLANK),
        (End.MARKER, "socratic", End.MARKER),
        (None, "userlm", None),
    ],
)
def test_a_blank_is_some_simulators_goodbye(told: End | None, profile: str | None, end: End | None) -> None:
    assert _goodbye(_Heard(end=told, profile=profile)) is end
