"""`platolm compose`: the command around the override and the key."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from platolm.cli.compose.app import compose_app
from platolm.compose.docker import compose_command, running_key
from platolm.compose.gpus import COMPOSE_FILES, DEFAULT_OUT, SHARED_FILES
from platolm.errors import StackError
from tests.unit.cli.conftest import RunCommand

MINIMAL = "services:\n  simulator: {image: a}\n  respondent: {image: b}\n"
TWO = ("compose", "gpus", "--simulators", "1", "--respondents", "1")

PutCommand = Callable[[str, str], None]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder in which the command runs, with Compose files in it."""
    for name in COMPOSE_FILES:
        (tmp_path / name).write_text(MINIMAL)
    return tmp_path


@pytest.fixture
def put(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PutCommand:
    """Put a shell script under a command's name; no other command is found."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def written(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(stat.S_IRWXU)

    return written


def contents(folder: Path) -> dict[str, str]:
    """Every file of a folder by its name."""
    return {path.name: path.read_text() for path in folder.iterdir()}


async def test_gpus_writes_the_file_and_says_how_to_use_it(platolm: RunCommand, project: Path) -> None:
    result = await platolm(*TWO, "--gpus", "2,5", "--gpu-memory", "0.8")
    assert (result.code, result.stderr.splitlines()) == (0, [
        "simulator-0: GPU 2, 0.80 of its memory",
        "respondent-0: GPU 5, 0.80 of its memory",
        "docker-compose.gpus.yml is written. For every `docker compose` to use it, write into .env:",
        "    COMPOSE_FILE=docker-compose.yml:docker-compose.gpu.yml:docker-compose.gpus.yml",
        "and leave the -f out of the line that starts the stack:",
    ])  # fmt: skip
    assert result.stdout == (
        "docker compose -f docker-compose.yml -f docker-compose.gpu.yml -f docker-compose.gpus.yml up -d\n"
    )
    first = (project / DEFAULT_OUT).read_text().splitlines()[0]
    asked = "platolm compose gpus --simulators 1 --respondents 1 --gpus 2,5 --gpu-memory 0.8"
    assert first == f"# Written by `{asked}`."


async def test_gpus_may_be_shared(platolm: RunCommand, project: Path) -> None:
    result = await platolm(*TWO, "--share", "--out", "mine.yml")
    assert result.code == 0, result.stderr
    assert result.stderr.splitlines()[1] == "respondent-0: GPU 0, 0.45 of its memory"
    first = (project / "mine.yml").read_text().splitlines()[0]
    assert first == "# Written by `platolm compose gpus --simulators 1 --respondents 1 --share`."


async def test_gpus_with_engines_of_both_sides(platolm: RunCommand, project: Path) -> None:
    (project / SHARED_FILES[-1]).write_text(MINIMAL)
    asked = ("compose", "gpus", "--simulators", "2", "--shared-engine")
    result = await platolm(*asked)
    assert (result.code, result.stderr.splitlines()[:2]) == (0, [
        "simulator-0: GPU 0, 0.90 of its memory",
        "simulator-1: GPU 1, 0.90 of its memory",
    ])  # fmt: skip
    assert f"COMPOSE_FILE={':'.join(SHARED_FILES)}:{DEFAULT_OUT}" in result.stderr
    assert result.stdout == f"docker compose -f {' -f '.join(SHARED_FILES)} -f {DEFAULT_OUT} up -d\n"
    assert (project / DEFAULT_OUT).read_text().startswith(f"# Written by `platolm {' '.join(asked)}`.\n")


@pytest.mark.parametrize("arguments", [(), ("--respondents", "1", "--shared-engine")])
async def test_gpus_with_respondents_or_without(platolm: RunCommand, project: Path, arguments: tuple[str, ...]) -> None:
    result = await platolm("compose", "gpus", "--simulators", "1", *arguments)
    assert result.code == 2
    assert "give either --respondents N, engines of their own, or --shared-engine" in result.stderr
    assert not (project / DEFAULT_OUT).exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--gpus", "0"), "2 engines, but --gpus names 1"),
        (("--gpus", "zero,one"), "'zero' is no GPU"),
        (("--out", "docker-compose.gpu.yml"), "docker-compose.gpu.yml was not written by this command"),
    ],
)
async def test_gpus_that_cannot_be(platolm: RunCommand, project: Path, arguments: tuple[str, ...], said: str) -> None:
    result = await platolm(*TWO, *arguments)
    assert result.code == 2
    assert said in result.stderr
    assert contents(project) == dict.fromkeys(COMPOSE_FILES, MINIMAL)


async def test_gpus_elsewhere_than_in_the_project(platolm: RunCommand, tmp_path: Path) -> None:
    result = await platolm(*TWO)
    assert result.code == 2
    assert result.stderr.startswith("error: docker-compose.yml is not there")
    assert contents(tmp_path) == {}


def test_every_command_of_compose_teaches_by_example() -> None:
    assert len(compose_app.registered_commands) == 2
    for command in compose_app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__
        assert (command.epilog or "").startswith(f"**Examples**\n\n- `platolm compose {command.callback.__name__}")


def test_the_plugin_is_taken_before_version_one(put: PutCommand) -> None:
    put("docker", 'test "$*" = "compose version"')
    put("docker-compose", "exit 0")
    assert compose_command() == ["docker", "compose"]


def test_version_one_where_docker_has_no_plugin(put: PutCommand) -> None:
    put("docker", "exit 1")
    put("docker-compose", "exit 0")
    assert compose_command() == ["docker-compose"]


def test_no_compose_at_all(put: PutCommand) -> None:
    put("docker", "exit 1")
    with pytest.raises(StackError, match="no Docker Compose here: install"):
        compose_command()


def test_the_key_comes_from_the_container_of_the_api(put: PutCommand) -> None:
    put("docker-compose", 'test "$*" = "exec -T api cat /secrets/api_key" && echo a-key')
    assert running_key() == "a-key"


def test_no_stack_that_runs_has_no_key(put: PutCommand) -> None:
    put("docker-compose", "echo No container found for api_1 >&2; exit 1")
    with pytest.raises(StackError, match=r"no stack answers: .*docker compose up -d") as caught:
        running_key()
    assert caught.value.log_tail == ("No container found for api_1",)


async def test_key_prints_the_key_alone(platolm: RunCommand, put: PutCommand) -> None:
    put("docker-compose", "echo a-key")
    result = await platolm("compose", "key")
    assert (result.code, result.stdout, result.stderr) == (0, "a-key\n", "")
