"""A simulator's instruction on the command line: a text, or a file's name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from platolm.cli.app import app
from platolm.cli.instruction import instruction_text
from platolm.errors import InputError, SpecError

TEXT = "You are {persona}.\nLeave with {end_marker}"


@pytest.mark.parametrize("name", ["caller.txt", "my caller.txt"])
def test_a_file_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(TEXT, encoding="utf-8-sig")
    assert instruction_text(str(tmp_path / name)) == TEXT


@pytest.mark.parametrize("text", [TEXT, "Be a cook.", "Write {{x}} " * 10_000, "a\0 b"])
def test_a_text_is_itself(text: str) -> None:
    assert instruction_text(text) == text


@pytest.mark.parametrize(
    ("given", "told"),
    [("missing.txt", "missing.txt: no instruction, and the file cannot be read: No such"), (" ", "says nothing")],
)
def test_what_is_neither(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, told: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=told):
        instruction_text(given)


def test_a_file_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff\xff")
    with pytest.raises(InputError, match="cannot be read"):
        instruction_text(str(tmp_path / "x"))


def test_it_comes_into_the_spec(tmp_path: Path) -> None:
    (tmp_path / "caller.txt").write_text(TEXT)
    asked = [
        "run",
        "--show",
        "--json",
        "--simulator-profile",
        "roleplay",
        "--instruction",
        str(tmp_path / "caller.txt"),
    ]
    shown = CliRunner().invoke(app, asked)
    assert json.loads(shown.stdout)["simulator"]["instruction"] == TEXT


def test_a_field_that_there_is_not_is_told() -> None:
    asked = ["run", "--show", "--simulator-profile", "roleplay", "--instruction", "You are {nobody}."]
    refused = CliRunner().invoke(app, asked).exception
    assert isinstance(refused, SpecError)
    assert "{nobody} is not a field; there are {system_prompt}, {intent}" in str(refused.problems[0])
