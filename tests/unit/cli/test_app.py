"""The command as a whole: its version, its help, its reference, what it imports."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from platolm import __version__
from platolm.cli import app as application
from platolm.cli.console import print_error, printable
from platolm.errors import (
    ApiError,
    BadLine,
    InputError,
    OccupiedError,
    OutputError,
    PlatoLMError,
    SeedError,
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
        (OccupiedError("x"), 2),
        (OutputError("x"), 1),
        (ApiError("x"), 1),
        (StackError("x", log_tail=["y"]), 1),
    ],
)
def test_exit_codes(error: PlatoLMError, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert print_error(error) == code
    assert capsys.readouterr().err.endswith("error: x\n")


def test_an_error_with_brackets_is_printed_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    print_error(InputError("seeds[3] has [bold]no[/bold] question [/"))
    assert capsys.readouterr().err == "error: seeds[3] has [bold]no[/bold] question [/\n"


def test_what_a_model_says_cannot_steer_the_terminal() -> None:
    assert printable("a\x1b[31mb\x07\u009bc\r\nd\te") == "a\ufffd[31mb\ufffd\ufffdc\nd\te"
