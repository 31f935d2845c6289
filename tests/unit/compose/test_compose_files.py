"""What every service of the stack has, and what the stack shows to the outside."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from services.gateway.engine import EngineBuild, engine_command
from services.gateway.settings import GatewaySettings
from services.orchestrator import app, worker, writer
from services.orchestrator.settings import ApiSettings, WorkerSettings
from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings
from tests.unit.compose.stack_files import (
    COMPOSE_FILES,
    ONE_SHOT,
    REPOSITORY,
    Service,
    compose_file,
    compose_text,
    lasting_services,
    seconds,
    services,
)

LASTING = pytest.mark.parametrize("name", lasting_services())
ENGINES = pytest.mark.parametrize(
    ("name", "kind"), [("simulator", SimulatorSettings), ("respondent", RespondentSettings)]
)


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PLATOLM_SECRETS_DIR", raising=False)


def validated(path: Path) -> subprocess.CompletedProcess[str]:
    argv = [str(Path(sys.executable).parent / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("name", COMPOSE_FILES)
def test_files_are_valid_against_the_compose_specification(name: str) -> None:
    result = validated(REPOSITORY / name)
    assert result.returncode == 0, result.stdout + result.stderr


def test_the_schema_finds_mistakes(tmp_path: Path) -> None:
    wrong = tmp_path / "docker-compose.yml"
    wrong.write_text(compose_text("docker-compose.yml").replace("stop_grace_period:", "stop_grace_peroid:"))
    assert validated(wrong).returncode == 1


@pytest.mark.parametrize("command", ["docker compose", "docker-compose"])
@pytest.mark.parametrize("files", [COMPOSE_FILES[:1], COMPOSE_FILES[::2], COMPOSE_FILES])
def test_files_are_accepted_by_compose(command: str, files: tuple[str, ...], tmp_path: Path) -> None:
    argv = command.split()
    if shutil.which(argv[0]) is None or subprocess.run([*argv, "version"], capture_output=True, check=False).returncode:
        pytest.skip(f"{command} is not installed")
    no_settings = tmp_path / ".env"
    no_settings.touch()
    argv += ["--env-file", str(no_settings), *(part for name in files for part in ("-f", name)), "config", "-q"]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
    result = subprocess.run(argv, cwd=REPOSITORY, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_services() -> None:
    assert lasting_services() == sorted(
        ["api", "grafana", "prometheus", "proxy", "redis", "respondent", "simulator", "worker", "writer"]
    )
    profiles = {name: service.get("profiles", []) for name, service in services().items()}
    assert {name: of for name, of in profiles.items() if of} == {
        "cli": ["cli"],
        "grafana": ["observability"],
        "prometheus": ["observability"],
        "train": ["train"],
    }


@LASTING
def test_a_lasting_service_is_watched_restarted_and_bounded(name: str) -> None:
    service = services()[name]
    assert service["restart"] == "unless-stopped"
    health = service["healthcheck"]
    assert health["test"][0] in ("CMD", "CMD-SHELL")
    assert {"interval", "timeout", "retries", "start_period"} <= set(health)
    assert seconds(health["timeout"]) <= seconds(health["interval"])
    assert service["mem_limit"][-1] in "mg"


@pytest.mark.parametrize("name", sorted(services()))
def test_logs_are_rotated(name: str) -> None:
    assert services()[name]["logging"] == {"driver": "json-file", "options": {"max-size": "10m", "max-file": "5"}}


@pytest.mark.parametrize("name", sorted(set(services()) - {"train"}))
def test_a_service_may_do_little(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "cap_add" not in service
    assert "privileged" not in service


@pytest.mark.parametrize("name", sorted(services()))
def test_an_image_has_a_version(name: str) -> None:
    tag = services()[name]["image"].rpartition(":")[2]
    assert tag
    assert tag != "latest"


@pytest.mark.parametrize("name", ["api", "cli", "proxy", "redis", "respondent", "simulator", "worker", "writer"])
def test_a_service_waits_until_what_it_needs_is_ready(name: str) -> None:
    needed = services()[name]["depends_on"]
    for other, how in needed.items():
        done = "service_completed_successfully" if other in ONE_SHOT else "service_healthy"
        assert how == {"condition": done}, other


@ENGINES
def test_a_model_server_is_not_killed_while_it_drains(name: str, kind: type[GatewaySettings]) -> None:
    settings = kind(model="org/model")
    engine = engine_command(settings, EngineBuild.CPU)
    needed_s = settings.drain_timeout_s + engine.grace_s
    assert_grace(services()[name], needed_s)


def test_the_orchestrator_is_not_killed_while_it_drains() -> None:
    assert_grace(services()["worker"], WorkerSettings().drain_timeout_s + worker.DRAIN_MARGIN_S)
    assert_grace(services()["writer"], writer.SHUTDOWN_S)
    assert_grace(services()["api"], app.SHUTDOWN_S)
    for name in ("api", "writer", "worker", "simulator", "respondent"):
        assert not any("DRAIN" in variable for variable in services()[name]["environment"])


def assert_grace(service: Service, needed_s: float) -> None:
    """Five seconds more than it takes by itself: Docker's own way takes some."""
    assert seconds(service["stop_grace_period"]) >= needed_s + 5


def test_only_named_ports_are_open_and_on_loopback() -> None:
    published = {name: service["ports"] for name, service in services().items() if "ports" in service}
    assert published == {
        "api": ["127.0.0.1:8000:8000"],
        "proxy": ["127.0.0.1:8001:8001", "127.0.0.1:8002:8002"],
        "prometheus": ["127.0.0.1:9090:9090"],
        "grafana": ["127.0.0.1:3000:3000"],
    }
    ports = [line.strip() for line in compose_text("docker-compose.yml").splitlines() if "_PORT:-" in line]
    [keyless] = [line for line in ports if "PROMETHEUS_PORT" in line]
    assert keyless.startswith("- 127.0.0.1:"), "Prometheus asks for no key"
    ports.remove(keyless)
    assert len(ports) == 4
    assert all(line.startswith("- ${PLATOLM_BIND:-127.0.0.1}:") for line in ports)
    assert "_PORT" not in compose_text("docker-compose.gpu.yml")


def test_redis_and_engines_have_no_way_out() -> None:
    assert compose_file()["networks"]["inside"] == {"internal": True}
    for name in ("redis", "simulator", "respondent"):
        assert services()[name]["networks"] == ["inside"]
    assert services()["secrets"]["network_mode"] == "none"


def test_no_service_is_given_a_secret_by_its_environment() -> None:
    for name in set(services()) - {"secrets"}:
        given = services()[name].get("environment", {})
        assert not [variable for variable in given if "KEY" in variable or variable.endswith("PASSWORD")], name
        assert "REDIS_URL" not in " ".join(given)


@ENGINES
def test_an_engine_is_told_by_names_that_it_knows(name: str, kind: type[GatewaySettings]) -> None:
    prefix = str(kind.model_config["env_prefix"])
    for file in COMPOSE_FILES:
        told = set(services(file)[name]["environment"]) - {"PLATOLM_SECRETS_DIR", "HF_TOKEN"}
        assert {variable.removeprefix(prefix).lower() for variable in told} <= set(kind.model_fields)


def test_talks_reach_the_model_servers_as_applications_do() -> None:
    told = services()["api"]["environment"]
    settings = {name.removeprefix("PLATOLM_API_").lower() for name in told} - {"platolm_secrets_dir"}
    assert settings <= set(ApiSettings.model_fields)
    assert told["PLATOLM_API_SIMULATOR_URL"] == "http://proxy:8001/v1"
    assert told["PLATOLM_API_RESPONDENT_URL"] == "http://proxy:8002/v1"
    assert set(services()["api"]["networks"]) & set(services()["proxy"]["networks"]) == {"inside", "outside"}


def test_gpu_engines_share_one_card_by_parts_of_its_memory_and_start_in_turn() -> None:
    gpu = services("docker-compose.gpu.yml")
    shares = []
    for name in ("simulator", "respondent"):
        [device] = gpu[name]["deploy"]["resources"]["reservations"]["devices"]
        assert device == {"driver": "nvidia", "device_ids": ["0"], "capabilities": ["gpu"]}
        assert gpu[name]["build"]["args"] == {"ENGINE": "gpu"}
        assert gpu[name]["image"] == f"platolm-{name}:local-gpu"
        assert gpu[name]["networks"] == ["outside"]
        shares.append(float(gpu[name]["environment"][f"PLATOLM_{name.upper()}_GPU_MEMORY_UTILIZATION"]))
    assert sum(shares) == pytest.approx(0.9)
    assert gpu["respondent"]["depends_on"] == {"simulator": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", ["simulator", "respondent", "api", "worker"])
def test_all_that_read_models_have_the_same_places(name: str) -> None:
    assert "./models:/models:ro" in services()[name]["volumes"]
    assert "hub:/hub" in services()[name]["volumes"]
