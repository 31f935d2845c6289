"""Commands of other packages: added, in order, and a broken one does not take the others away."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from platolm.cli.plugins import COMMANDS_GROUP, add_plugins
from tests.unit.cli.conftest import RunCommand

PLUGIN = """
def register(app):
    app.command("greet")(lambda: print("hello"))

def fail(app):
    raise RuntimeError("two\\nlines")
"""


@pytest.fixture
def plugin_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "a_plugin_of_a_test.py").write_text(PLUGIN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "a_plugin_of_a_test", raising=False)
    return "a_plugin_of_a_test"


def entry(name: str, value: str) -> EntryPoint:
    return EntryPoint(name=name, value=value, group=COMMANDS_GROUP)


def application() -> typer.Typer:
    app = typer.Typer(add_completion=False)
    app.command("own")(lambda: print("own"))
    return app


def test_a_plugin_adds_its_command(plugin_module: str, capsys: pytest.CaptureFixture[str]) -> None:
    app = application()
    add_plugins(app, [entry("greet", f"{plugin_module}:register")])
    assert CliRunner().invoke(app, ["greet"]).stdout == "hello\n"
    assert CliRunner().invoke(app, ["own"]).stdout == "own\n"
    assert capsys.readouterr().err == ""


def test_a_broken_plugin_is_one_notice_and_the_others_work(
    plugin_module: str, capsys: pytest.CaptureFixture[str]
) -> None:
    app = application()
    add_plugins(
        app,
        [
            entry("zero", f"{plugin_module}:register"),
            entry("gone", "a_module_that_is_not_there:register"),
            entry("failing", f"{plugin_module}:fail"),
        ],
    )
    assert CliRunner().invoke(app, ["greet"]).stdout == "hello\n"
    assert capsys.readouterr().err.splitlines() == [
        f"the command failing is left out, its plugin {plugin_module}:fail is broken (RuntimeError: two lines)",
        "the command gone is left out, its plugin a_module_that_is_not_there:register is broken "
        "(ModuleNotFoundError: No module named 'a_module_that_is_not_there')",
    ]


def test_the_installed_plugins_are_those_that_the_project_declares() -> None:
    declared = {one.name: one.value for one in entry_points(group=COMMANDS_GROUP)}
    assert declared == {
        "data": "curation.cli:register",
        "loop": "training.loop.cli:register",
        "train": "training.cli:register",
    }


async def test_the_command_has_them(platolm: RunCommand) -> None:
    result = await platolm("--help")
    assert result.code == 0, result.stderr
    assert result.stderr == ""
    assert " train " in result.stdout
