"""The override for several GPUs: over files of a test's own, and over the project's, read by Compose itself."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from platolm.compose.docker import compose_command
from platolm.compose.gpus import (
    COMPOSE_FILES,
    SHARED_FILES,
    compose_file_line,
    gpus_override,
    up_command,
    write_override,
)
from platolm.compose.placing import place_engines
from platolm.errors import InputError, OccupiedError, StackError

REPOSITORY = Path(__file__).parents[3]
OUT = Path("docker-compose.gpus.yml")
MEMORY = "PLATOLM_SIMULATOR_GPU_MEMORY_UTILIZATION"
COMMAND = "platolm compose gpus --simulators 2 --respondents 1"
BASE = """
x-engine: &engine
  init: true
  networks: [inside]
  volumes: ["models:/models:ro"]
  depends_on:
    secrets: {condition: service_completed_successfully}
services:
  simulator:
    <<: *engine
    image: sim:${TAG:-cpu}
    scale: 1
    environment: ["PLATOLM_SIMULATOR_MODEL=${SIMULATOR_MODEL:-demo}"]
  respondent:
    <<: *engine
    image: res
    depends_on: [secrets, simulator]
"""
GPU = """
services:
  simulator:
    image: sim:gpu
    volumes: ["hub:/hub"]
    networks: {outside: {aliases: [hub]}}
    environment: {PLATOLM_SIMULATOR_GPU_MEMORY_UTILIZATION: "${SIMULATOR_GPU_MEMORY:-0.45}"}
    deploy:
      resources: {limits: {memory: 8g}, reservations: {devices: [{driver: nvidia, count: 1, capabilities: [gpu]}]}}
  respondent: {image: "res:gpu"}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in zip(COMPOSE_FILES, (BASE, GPU), strict=True):
        (tmp_path / name).write_text(text)
    return tmp_path


def services_of(text: str) -> dict[str, Any]:
    services: dict[str, Any] = yaml.safe_load(text)["services"]
    return services


def test_each_engine_is_a_service_with_a_gpu(folder: Path) -> None:
    services = services_of(gpus_override(folder, place_engines(2, 1, ["4", "5", "6"]), command=COMMAND, out=OUT))
    assert list(services) == ["simulator", "respondent", "simulator-0", "simulator-1", "respondent-0"]
    assert services["simulator"] == services["respondent"] == {"scale": 0}
    assert services["simulator-1"] == {
        "init": True,
        "image": "sim:gpu",
        "volumes": ["models:/models:ro", "hub:/hub"],
        "networks": {"inside": {"aliases": ["simulator"]}, "outside": {"aliases": ["hub", "simulator"]}},
        "environment": {
            "PLATOLM_SIMULATOR_MODEL": "${SIMULATOR_MODEL:-demo}",
            "PLATOLM_SIMULATOR_GPU_MEMORY_UTILIZATION": "0.90",
        },
        "depends_on": {"secrets": {"condition": "service_completed_successfully"}},
        "deploy": {
            "resources": {
                "limits": {"memory": "8g"},
                "reservations": {"devices": [{"driver": "nvidia", "device_ids": ["5"], "capabilities": ["gpu"]}]},
            }
        },
    }
    assert services["respondent-0"]["image"] == "res:gpu"
    assert services["respondent-0"]["depends_on"] == {"secrets": {"condition": "service_started"}}
    devices = services["respondent-0"]["deploy"]["resources"]["reservations"]["devices"]
    assert devices == [{"driver": "nvidia", "device_ids": ["6"], "capabilities": ["gpu"]}]


def test_engines_of_a_gpu_start_one_after_the_other(folder: Path) -> None:
    engines = place_engines(2, 2, ["0", "1"], share=True)
    services = services_of(gpus_override(folder, engines, command=COMMAND, out=OUT))
    waits = {name: set(one["depends_on"]) - {"secrets"} for name, one in services.items() if "depends_on" in one}
    assert waits == {
        "simulator-0": set(), "simulator-1": set(), "respondent-0": {"simulator-0"}, "respondent-1": {"simulator-1"}
    }  # fmt: skip
    assert services["respondent-1"]["depends_on"]["simulator-1"] == {"condition": "service_healthy"}
    assert services["respondent-1"]["environment"] == {"PLATOLM_RESPONDENT_GPU_MEMORY_UTILIZATION": "0.45"}


def test_engines_of_both_sides_leave_the_respondent_as_it_is(folder: Path) -> None:
    both = """
services:
  simulator: {environment: {PLATOLM_SIMULATOR_GPU_MEMORY_UTILIZATION: "0.9", PLATOLM_SIMULATOR_ENGINE_ARGS: --lora}}
  respondent: {depends_on: {simulator: {condition: service_healthy}}}
"""
    (folder / SHARED_FILES[-1]).write_text(both)
    text = gpus_override(folder, place_engines(2, 0, memory=0.8), command=COMMAND, out=OUT, names=SHARED_FILES)
    services = services_of(text)
    assert list(services) == ["simulator", "simulator-0", "simulator-1"]
    assert services["simulator"] == {"scale": 0}
    assert services["simulator-1"]["environment"] == {
        "PLATOLM_SIMULATOR_MODEL": "${SIMULATOR_MODEL:-demo}",
        "PLATOLM_SIMULATOR_GPU_MEMORY_UTILIZATION": "0.80",
        "PLATOLM_SIMULATOR_ENGINE_ARGS": "--lora",
    }
    assert f"docker compose -f {' -f '.join(SHARED_FILES)} -f {OUT} up -d" in text.splitlines()[2]
    assert f"when {' or '.join(SHARED_FILES)} has changed" in text.splitlines()[1]


def test_the_head_says_what_wrote_it_and_what_to_do(folder: Path) -> None:
    text = gpus_override(folder, place_engines(1, 1), command=COMMAND, out=Path("my.yml"))
    assert text.splitlines()[:5] == [
        f"# Written by `{COMMAND}`.",
        "# Give that command again, rather than change this file, also when docker-compose.yml or "
        "docker-compose.gpu.yml has changed.",
        "# To start: docker compose -f docker-compose.yml -f docker-compose.gpu.yml -f my.yml up -d",
        "# simulator-0: GPU 0, 0.90 of its memory",
        "# respondent-0: GPU 1, 0.90 of its memory",
    ]
    assert "&" not in text, "no anchors: a person reads it"


def test_what_to_write_into_env() -> None:
    assert compose_file_line(OUT) == f"COMPOSE_FILE=docker-compose.yml:docker-compose.gpu.yml:{OUT}"
    assert compose_file_line(OUT, SHARED_FILES) == (
        f"COMPOSE_FILE=docker-compose.yml:docker-compose.gpu.yml:docker-compose.shared.yml:{OUT}"
    )


def test_a_file_of_ours_is_written_again_and_another_never(folder: Path) -> None:
    path = folder / OUT
    write_override(path, gpus_override(folder, place_engines(1, 1), command=COMMAND, out=OUT))
    again = gpus_override(folder, place_engines(2, 1), command=COMMAND, out=OUT)
    write_override(path, again)
    assert path.read_text() == again
    path.write_text("services: {}\n")
    with pytest.raises(OccupiedError, match=f"{OUT} was not written by this command"):
        write_override(path, again)
    assert path.read_text() == "services: {}\n"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "is not there: give this command in the project's folder"),
        ("services: [", "cannot be read"),
        ("- 1", "is no Compose file"),
    ],
)
def test_a_compose_file_that_cannot_be_used(folder: Path, content: str | None, said: str) -> None:
    path = folder / COMPOSE_FILES[1]
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(InputError, match=said) as caught:
        gpus_override(folder, place_engines(1, 1), command=COMMAND, out=OUT)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_files_without_the_engines(folder: Path) -> None:
    for name in COMPOSE_FILES:
        (folder / name).write_text("services:\n  redis: {image: redis}\n")
    with pytest.raises(InputError, match="have no service simulator"):
        gpus_override(folder, place_engines(1, 1), command=COMMAND, out=OUT)


def installed_compose() -> list[str]:
    """The command; empty where there is none."""
    try:
        return compose_command()
    except StackError:
        return []


def compose_config(folder: Path, *files: Path) -> dict[str, Any]:
    """The project's files as the installed Compose understands them together, all variables left to their defaults."""
    (folder / "empty.env").touch()
    named = [part for file in files for part in ("-f", str(file))]
    here = ["--project-directory", str(REPOSITORY), "--env-file", str(folder / "empty.env")]
    done = subprocess.run(
        [*installed_compose(), *here, *named, "config"],
        env={name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    config: dict[str, Any] = yaml.safe_load(done.stdout)
    return config


@pytest.mark.skipif(not installed_compose(), reason="neither `docker compose` nor `docker-compose` is installed")
def test_compose_reads_the_project_with_the_override(tmp_path: Path) -> None:
    """What it makes of an engine of ours is what it makes of the side's service, the GPU, memory and alias aside."""
    out = tmp_path / OUT
    write_override(out, gpus_override(REPOSITORY, place_engines(2, 2, ["3", "4", "5", "6"]), command=COMMAND, out=out))
    files = [REPOSITORY / name for name in COMPOSE_FILES]
    plain, ours = compose_config(tmp_path, *files)["services"], compose_config(tmp_path, *files, out)["services"]
    for side, gpus in (("simulator", ["3", "4"]), ("respondent", ["5", "6"])):
        assert ours[side]["scale"] == 0
        for number, gpu in enumerate(gpus):
            engine = ours[f"{side}-{number}"]
            reserved = engine["deploy"]["resources"]["reservations"].pop("devices")
            assert [device["device_ids"] for device in reserved] == [[gpu]]
            variable = f"PLATOLM_{side.upper()}_GPU_MEMORY_UTILIZATION"
            assert engine["environment"].pop(variable) == "0.90"
            assert all(side in network["aliases"] for network in engine["networks"].values())
            assert set(engine["networks"]) == set(plain[side]["networks"])
            assert without(engine) == without(plain[side], variable)


@pytest.mark.skipif(not installed_compose(), reason="neither `docker compose` nor `docker-compose` is installed")
def test_compose_reads_engines_of_both_sides(tmp_path: Path) -> None:
    out, files = tmp_path / OUT, [REPOSITORY / name for name in SHARED_FILES]
    engines = place_engines(2, 0, ["3", "4"])
    write_override(out, gpus_override(REPOSITORY, engines, command=COMMAND, out=out, names=SHARED_FILES))
    plain, ours = compose_config(tmp_path, *files)["services"], compose_config(tmp_path, *files, out)["services"]
    assert ours["respondent"] == plain["respondent"]
    assert set(ours) - set(plain) == {"simulator-0", "simulator-1"}
    for engine in (ours["simulator-0"], ours["simulator-1"]):
        assert "--enable-lora" in engine["environment"]["PLATOLM_SIMULATOR_ENGINE_ARGS"]
        assert without(engine, MEMORY) == without(plain["simulator"], MEMORY)
        assert engine["environment"][MEMORY] == "0.90"


def without(service: dict[str, Any], variable: str = "") -> dict[str, Any]:
    """A service without what an engine of its own has otherwise."""
    kept = {key: value for key, value in service.items() if key not in ("networks", "depends_on", "scale")}
    kept["environment"] = {name: value for name, value in kept["environment"].items() if name != variable}
    kept["deploy"]["resources"]["reservations"].pop("devices", None)
    return kept


def test_the_line_that_starts_the_stack() -> None:
    assert up_command(OUT) == (
        "docker compose -f docker-compose.yml -f docker-compose.gpu.yml -f docker-compose.gpus.yml up -d"
    )
