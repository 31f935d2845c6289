"""`platolm replace`: what it asks a stack for."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from platolm.cli import replace as replace_module
from platolm.errors import InputError
from platolm.stack.control import ReplaceRequest

app = typer.Typer()
app.command(epilog=replace_module.REPLACE_EPILOG)(replace_module.replace)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[tuple[Path, ReplaceRequest]]:
    requests: list[tuple[Path, ReplaceRequest]] = []

    async def ask(data_dir: Path, request: ReplaceRequest) -> None:
        requests.append((data_dir, request))

    monkeypatch.setattr(replace_module, "ask_to_replace", ask)
    monkeypatch.chdir(tmp_path)
    return requests


def test_a_folder_is_named_in_full_and_a_hub_name_as_it_is(
    asked: list[tuple[Path, ReplaceRequest]], tmp_path: Path
) -> None:
    (tmp_path / "mine").mkdir()
    arguments = ["--simulator-model", "mine", "--respondent-model", "org/model", "--in-place", "--data-dir", "d"]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    models = {"simulator": str(tmp_path / "mine"), "respondent": "org/model"}
    assert asked == [(Path("d"), ReplaceRequest.model_validate({"models": models, "in_place": True}))]
    assert "respondent serves org/model" in result.stderr


def test_the_data_folder_is_that_of_up(
    asked: list[tuple[Path, ReplaceRequest]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLATOLM_UP_DATA_DIR", "elsewhere")
    assert CliRunner().invoke(app, ["--simulator-model", "org/model"]).exit_code == 0
    assert [folder for folder, _ in asked] == [Path("elsewhere")]


def test_no_model(asked: list[tuple[Path, ReplaceRequest]]) -> None:
    result = CliRunner().invoke(app, [])
    assert isinstance(result.exception, InputError)
    assert "--simulator-model" in str(result.exception)
    assert asked == []
