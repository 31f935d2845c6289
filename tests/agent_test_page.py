"""The examples of docs/agent-testing.md, as a reader would paste them."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

PAGE = (Path(__file__).parents[1] / "docs" / "agent-testing.md").read_text(encoding="utf-8")


def documented(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the code blocks of the page define, in one module.

    The framework that they import is itself where it is installed, else one function that calls its hooks as it does.
    """
    if util.find_spec("openevals") is None:
        stand_in = ModuleType("openevals.simulators")
        stand_in.__dict__["run_multiturn_simulation"] = play
        monkeypatch.setitem(sys.modules, "openevals", ModuleType("openevals"))
        monkeypatch.setitem(sys.modules, "openevals.simulators", stand_in)
    module: dict[str, Any] = {"__name__": "agent_test"}
    for code in re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL):
        exec(compile(code, "docs/agent-testing.md", "exec"), module)
    return module


def play(
    *, app: Callable[..., Any], user: Callable[..., Any], stopping_condition: Callable[..., bool], **options: Any
) -> dict[str, Any]:
    """The order of openevals' calls: the user is given the trajectory, the app its last message; then: stop?"""
    trajectory: list[dict[str, Any]] = []
    for turn in range(options["max_turns"]):
        said = user(list(trajectory), thread_id=options["thread_id"], turn_counter=turn)
        trajectory.append({**said, "id": f"user-{turn}"})
        answered = app(trajectory[-1], thread_id=options["thread_id"])
        trajectory.append({**answered, "id": f"app-{turn}"})
        if stopping_condition(trajectory, turn_counter=turn + 1):
            break
    return {"trajectory": trajectory}
