"""The Dockerfiles: hadolint's rules, and what hadolint does not know."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from platolm import __version__
from tests.unit.compose.stack_files import REPOSITORY, services

IMAGES = ("orchestrator", "respondent", "simulator")
DOCKERFILES = {name: REPOSITORY / "services" / name / "Dockerfile" for name in IMAGES}
EACH = pytest.mark.parametrize("name", IMAGES)
_OWN_PART = "COPY models/demo/"


def stages(name: str) -> list[str]:
    """A Dockerfile from `FROM` to `FROM`; first what stands before."""
    return re.split(r"^(?=FROM )", DOCKERFILES[name].read_text(encoding="utf-8"), flags=re.MULTILINE)


def instructions(text: str) -> list[str]:
    """Without comments, continued lines as one."""
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return "\n".join(lines).replace("\\\n", " ").splitlines()


def linted(path: Path) -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).parent / "hadolint"), "--no-color", str(path)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


ALL = sorted(path for folder in ("services", "training") for path in (REPOSITORY / folder).rglob("Dockerfile*"))


@pytest.mark.parametrize("path", ALL, ids=[str(path.relative_to(REPOSITORY)) for path in ALL])
def test_hadolint(path: Path) -> None:
    result = linted(path)
    assert result.returncode == 0, result.stdout


def test_hadolint_finds_mistakes(tmp_path: Path) -> None:
    wrong = tmp_path / "Dockerfile"
    wrong.write_text("FROM debian\nRUN cd /tmp && apt-get install g++\n")
    result = linted(wrong)
    assert result.returncode == 1
    assert {"DL3003", "DL3006", "DL3008"} <= set(re.findall(r"DL\d{4}", result.stdout))


@EACH
def test_the_process_is_not_root(name: str) -> None:
    users = [line for line in instructions(stages(name)[-1]) if line.startswith("USER ")]
    assert users == ["USER 1000"]


@EACH
def test_labels(name: str) -> None:
    text = stages(name)[-1]
    assert f"ARG VERSION={__version__}\n" in text
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]+)"', text))
    assert labels["title"] == f"platolm-{name}"
    assert labels["version"] == "${VERSION}"
    assert set(labels) == {"title", "description", "version", "licenses"}


@EACH
def test_the_package_index_of_a_build_stays_out_of_the_image(name: str) -> None:
    [_, first, *others] = stages(name)
    assert "ARG PIP_EXTRA_INDEX_URL\n" in first
    assert "PIP_" not in "".join(line for stage in others for line in instructions(stage))


@EACH
def test_what_is_copied_is_let_into_the_build(name: str) -> None:
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line.removeprefix("!") for line in lines if line.startswith("!")]
    copied = [
        source
        for stage in stages(name)
        for line in instructions(stage)
        if line.startswith("COPY ") and "--from=" not in line
        for source in line.split()[1:-1]
    ]
    assert copied
    for source in copied:
        assert list(REPOSITORY.glob(source)), source
        assert any(source == allowed or source.startswith(f"{allowed}/") for allowed in let_in), source


def test_everything_else_stays_out_of_the_build() -> None:
    lines = (REPOSITORY / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert next(line for line in lines if not line.startswith("#")) == "*"
    assert "**/__pycache__" in lines


def test_the_model_servers_share_all_layers_below_their_own() -> None:
    shared = []
    for name in ("simulator", "respondent"):
        whole = instructions(DOCKERFILES[name].read_text(encoding="utf-8"))
        own = next(position for position, line in enumerate(whole) if line.startswith(_OWN_PART))
        shared.append(whole[:own])
    assert shared[0] == shared[1]
    assert "COPY --from=packages /opt/venv /opt/venv" in shared[0]


@EACH
def test_compose_builds_each_image_from_its_file(name: str) -> None:
    built = [service for service in services().values() if service["image"] == f"platolm-{name}:local"]
    assert built
    for service in built:
        assert service["build"]["dockerfile"] == f"services/{name}/Dockerfile"
        assert list(service["build"]["args"]) == ["PIP_EXTRA_INDEX_URL"]
