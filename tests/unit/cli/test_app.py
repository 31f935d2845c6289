"""The command as a whole: its version, its help, its reference, what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from platolm import __version__
from platolm.cli import app as application
from platolm.cli.console import print_error, printable
from platolm.cli.problems import print_problems
from platolm.cli.runs.app import runs_app
from platolm.errors import (
    ApiError,
    BadLine,
    InputError,
    OccupiedError,
    OutputError,
    PlatoLMError,
    SeedError,
    SpecError,
    SpecProblem,
    StackError,
)
from tests.unit.cli.conftest import RunCommand

REFERENCE = Path(__file__).parents[3] / "docs" / "cli.md"


async def test_version(platolm: RunCommand) -> None:
    result = await platolm("--version")
    assert (result.code, result.stdout) == (0, f"platolm {__version__}\n")


@pytest.mark.parametrize("command", ["demo", "up", "run", "tokenize"])
async def test_help_teaches_by_example(platolm: RunCommand, command: str) -> None:
    result = await platolm(command, "--help")
    assert result.code == 0
    assert "Examples" in result.stdout
    assert f"platolm {command}" in result.stdout.split("Examples")[1]


def test_every_command_of_runs_teaches_by_example() -> None:
    assert len(runs_app.registered_commands) == 12
    for command in runs_app.registered_commands:
        assert command.callback is not None
        assert command.callback.__doc__
        name = command.name or command.callback.__name__
        assert (command.epilog or "").startswith(f"**Examples**\n\n- `platolm runs {name}")


def test_the_reference_is_up_to_date(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "typer", "platolm.cli.app", "utils", "docs", "--name", "platolm"]
    subprocess.run([*command, "--output", str(tmp_path / "cli.md")], check=True, capture_output=True)
    assert REFERENCE.read_text() == (tmp_path / "cli.md").read_text(), "stale: write it again with `make docs`"


def test_an_error_of_ours_is_one_line_and_an_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise ApiError("the API has gone")

    monkeypatch.setattr(application, "app", fail)
    with pytest.raises(SystemExit) as caught:
        application.main()
    assert caught.value.code == 1
    assert capsys.readouterr().err == "error: the API has gone\n"


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (InputError("x"), 2),
        (SeedError("x", [BadLine(3, "y")]), 2),
        (SpecError("x", []), 2),
        (OccupiedError("x"), 2),
        (OutputError("x"), 1),
        (ApiError("x"), 1),
        (StackError("x", log_tail=["y"]), 1),
    ],
)
def test_exit_codes(error: PlatoLMError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_error(error) == code
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: x")


def test_the_problems_of_a_spec_are_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    print_problems([SpecProblem("a", "[b]", number) for number in range(1, 61)])
    lines = capsys.readouterr().err.splitlines()
    assert lines[:2] == ["line 1: a: [b]", "line 2: a: [b]"]
    assert lines[50:] == ["… and 10 more"]


def test_the_only_problem_of_a_spec_is_the_error(capsys: pytest.CaptureFixture[str]) -> None:
    error = SpecError("run.yaml", [SpecProblem("a", "no", 3)])
    print_problems(error.problems)
    print_error(error)
    assert capsys.readouterr().err == "error: run.yaml: line 3: a: no\n"


def test_an_error_with_brackets_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(InputError("seeds[3] has [bold]no[/bold] question [/"))
    assert capsys.readouterr().err == "error: seeds[3] has [bold]no[/bold] question [/\n"


def test_what_a_model_says_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mb\x07\u009bc\r\nd\te") == "a\ufffd[31mb\ufffd\ufffdc\nd\te"
