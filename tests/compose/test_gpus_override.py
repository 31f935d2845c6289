"""`platolm compose gpus` where nothing of the project is installed: in the command's container."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from platolm.compose.gpus import COMPOSE_FILES, DEFAULT_OUT, gpus_override
from platolm.compose.placing import place_engines
from tests.compose.stack import BUILD_TIMEOUT_S, REPOSITORY, START_TIMEOUT_S, ComposeStack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILD_TIMEOUT_S + START_TIMEOUT_S)]


def test_the_override_is_written_from_a_container(stack: ComposeStack, tmp_path: Path) -> None:
    for name in COMPOSE_FILES:
        shutil.copy(REPOSITORY / name, tmp_path)
    own = ["--no-deps", "--user", f"{os.getuid()}:{os.getgid()}", "--volume", f"{tmp_path}:/stack", "-w", "/stack"]
    asked = ["compose", "gpus", "--simulators", "2", "--respondents", "1"]
    said = stack.compose("run", "--rm", "-T", *own, "cli", *asked)
    assert said.startswith("docker compose -f docker-compose.yml")
    expected = gpus_override(
        REPOSITORY, place_engines(2, 1), command=f"platolm {' '.join(asked)}", out=Path(DEFAULT_OUT)
    )
    assert (tmp_path / DEFAULT_OUT).read_text() == expected
