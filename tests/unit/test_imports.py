"""The arrows between the packages: who may import whom."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
SHARED_ROOM = "services.gateway"


def modules_below(folder: str) -> list[Path]:
    return sorted((REPOSITORY / folder).rglob("*.py"))


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(REPOSITORY).with_suffix("").parts).removesuffix(".__init__")


def imports_of(path: Path) -> Iterator[str]:
    """Every module named in an import anywhere in the file, those inside functions too."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package.rsplit(".", node.level - 1)[0] if node.level else ""
            module = ".".join(part for part in (base, node.module) if part)
            yield module
            yield from (f"{module}.{alias.name}" for alias in node.names)


def is_within(module: str, package: str) -> bool:
    return module == package or module.startswith(package + ".")


def offences(folder: str, *forbidden: str) -> list[str]:
    return sorted(
        {
            f"{name_of(path)} imports {module}"
            for path in modules_below(folder)
            for module in imports_of(path)
            if any(is_within(module, package) for package in forbidden)
        }
    )


def services() -> list[str]:
    folders = (path for path in (REPOSITORY / "services").iterdir() if path.is_dir())
    return sorted(folder.name for folder in folders if list(folder.glob("*.py")))


def test_platolm_is_light_and_imports_neither_services_nor_training() -> None:
    assert (
        offences("platolm", "services", "training", "simulation", "tests", "torch", "transformers", "fastapi", "vllm")
        == []
    )


def test_training_imports_no_service() -> None:
    assert offences("training", "services", "tests", "fastapi", "vllm") == []


def test_the_simulation_imports_what_everything_shares_and_nothing_else() -> None:
    assert offences("simulation", "services", "training", "curation", "benchmarks", "tests", "torch", "vllm") == []


def test_sizing_needs_no_array_library() -> None:
    assert offences("platolm/sizing", "numpy", "scipy", "numba") == []


def test_services_do_not_import_training_or_tests() -> None:
    assert offences("services", "training", "simulation", "tests", "torch", "transformers") == []


def test_what_writes_the_references_is_imported_by_nobody() -> None:
    assert offences("reference", "training", "tests", "torch", "transformers", "vllm") == []
    assert [
        line for folder in ("platolm", "services", "training", "curation") for line in offences(folder, "reference")
    ] == []


@pytest.mark.parametrize("service", services())
def test_services_do_not_import_one_another(service: str) -> None:
    others = [f"services.{other}" for other in services() if other != service]
    allowed = () if is_within(f"services.{service}", SHARED_ROOM) else (SHARED_ROOM,)
    assert offences(f"services/{service}", *(other for other in others if other not in allowed)) == []


def test_a_worker_loads_the_sdk_of_chat_apis_only_for_a_run_that_asks_one() -> None:
    code = "import sys, services.orchestrator.worker; print('openai' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def test_the_command_loads_nothing_heavy() -> None:
    heavy = {"torch", "transformers", "fastapi", "vllm", "datasets", "numpy"}
    code = f"import sys, platolm.cli.app; print(sorted({heavy!r} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
