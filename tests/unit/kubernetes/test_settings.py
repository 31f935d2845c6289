"""What pods are told is what the processes know: variables, secrets, addresses, ports, folders."""

from __future__ import annotations

import os
import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from pydantic_settings import BaseSettings

from services.orchestrator.secrets import GivenSecrets, make_secrets
from services.orchestrator.settings import ApiSettings, WorkerSettings
from services.orchestrator.writer_settings import WriterSettings
from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings
from tests.unit.compose.stack_files import REPOSITORY, services
from tests.unit.kubernetes.manifests import (
    BUILDS,
    EACH_BUILD,
    EACH_OVERLAY,
    Build,
    Object,
    pod_of,
    ports_of,
    variables_of,
)

PROCESSES: dict[str, type[BaseSettings]] = {
    "api": ApiSettings,
    "writer": WriterSettings,
    "worker": WorkerSettings,
    "simulator": SimulatorSettings,
    "respondent": RespondentSettings,
}
LISTENING = {
    "api": {"http": "port"},
    "writer": {"health": "health_port"},
    "worker": {"health": "health_port"},
    "simulator": {"gateway": "port", "engine": "engine_port"},
    "respondent": {"gateway": "port", "engine": "engine_port"},
}
"""The fields that say where a process listens, by the port's name."""
OF_LIBRARIES = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "HF_TOKEN"}
"""Variables that botocore and huggingface_hub read by themselves."""
EVERYWHERE = {"0.0.0.0"}


@pytest.fixture(scope="module")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `services.orchestrator.secrets` makes, which docs/kubernetes.md puts into the Secret `platolm`."""
    folder = tmp_path_factory.mktemp("secrets")
    make_secrets(folder, GivenSecrets())
    return folder


def secret_items(workload: Object) -> dict[str, str]:
    """Files of the pod's folder of secrets, by the keys of the Secret."""
    volumes = [volume["secret"] for volume in pod_of(workload).get("volumes", []) if volume["name"] == "secrets"]
    return {item["key"]: item["path"] for secret in volumes for item in secret["items"]}


def settings_in(build: Build, name: str, secrets: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> BaseSettings:
    """A process's settings as they come to be in its container."""
    for key, path in secret_items(build.workloads[name]).items():
        (folder / path).write_text((secrets / key).read_text())
    told = variables_of(build, build.containers[name])
    assert told.pop("PLATOLM_SECRETS_DIR") == "/secrets"
    for variable, value in {**image_variables(name), **told, "PLATOLM_SECRETS_DIR": str(folder)}.items():
        monkeypatch.setenv(variable, value)
    return PROCESSES[name]()


def image_variables(name: str) -> dict[str, str]:
    """Our variables that the image of a model server sets; the orchestrator's sets none."""
    if name not in ("simulator", "respondent"):
        return {}
    text = (REPOSITORY / "services" / name / "Dockerfile").read_text(encoding="utf-8")
    return dict(re.findall(r"(PLATOLM_\w+)=(\S+)", text))


@EACH_BUILD
@pytest.mark.parametrize("name", PROCESSES)
def test_variables_are_settings_of_the_process(build: Build, name: str) -> None:
    kind = PROCESSES[name]
    told = {variable["name"] for variable in build.containers[name]["env"]} - {"PLATOLM_SECRETS_DIR"} - OF_LIBRARIES
    prefix = str(kind.model_config["env_prefix"])
    assert {variable for variable in told if not variable.startswith(prefix)} == set()
    assert {variable.removeprefix(prefix).lower() for variable in told} <= set(kind.model_fields)


@pytest.mark.parametrize("build", [*BUILDS[:2], BUILDS[-1]], ids=str)
@pytest.mark.parametrize("name", PROCESSES)
def test_a_process_starts_with_them_and_listens_where_the_pod_says(
    build: Build, name: str, secrets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_in(build, name, secrets, tmp_path, monkeypatch)
    listening = {port: getattr(settings, field) for port, field in LISTENING[name].items()}
    assert ports_of(build.containers[name]) == listening
    hosts = {getattr(settings, field) for field in ("host", "health_host", "engine_host") if hasattr(settings, field)}
    assert hosts == EVERYWHERE


@EACH_BUILD
def test_a_pod_has_its_own_secrets_and_no_others(build: Build, secrets: Path) -> None:
    made = {path.name for path in secrets.iterdir()}
    for name, workload in build.workloads.items():
        items = secret_items(workload)
        assert items == {key: key for key in items}
        expected = {"redis.conf", "redis_password"} if name == "redis" else set()
        assert set(items) == expected | {key for key in made if key.startswith(f"platolm_{name}_")}
        for key in set(items) - expected:
            assert key.removeprefix(f"platolm_{name}_") in PROCESSES[name].model_fields


@EACH_BUILD
def test_no_secret_is_in_the_manifests(build: Build) -> None:
    assert build.of_kind("Secret") == []
    for container in build.containers.values():
        for variable in container.get("env", []):
            if re.search(r"KEY|TOKEN|PASSWORD|SECRET(?!S_DIR)|REDIS_URL", variable["name"]):
                assert "secretKeyRef" in variable["valueFrom"], variable["name"]


@EACH_OVERLAY
def test_addresses_are_services_with_these_ports(build: Build, secrets: Path) -> None:
    told = {name: value for one in build.containers.values() for name, value in variables_of(build, one).items()}
    urls = {value for name, value in told.items() if value.startswith("http")}
    urls |= {path.read_text() for path in secrets.iterdir() if path.name.endswith("_redis_url")}
    assert len(urls) == 2 + 2 + 1
    for url in urls:
        parts = urlsplit(url)
        assert parts.port in {port["port"] for port in build.named("Service", parts.hostname or "")["spec"]["ports"]}


@EACH_OVERLAY
def test_the_proxy_is_told_the_services_whole_names(build: Build) -> None:
    told = variables_of(build, build.containers["proxy"])
    text = build.proxy_configuration
    assert text == (REPOSITORY / "deploy" / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8")
    asked = dict(re.findall(r'server-template .* "\$\{(\w+)\}:(\d+)"', text))
    for variable, port in asked.items():
        assert f"presetenv {variable} " in text
        service, _, rest = told[variable].partition(".")
        assert rest == "$(NAMESPACE).svc.$(CLUSTER_DOMAIN)"
        assert int(port) in {one["port"] for one in build.named("Service", service)["spec"]["ports"]}
    names = [variable["name"] for variable in build.containers["proxy"]["env"]]
    assert names.index("CLUSTER_DOMAIN") < names.index(min(asked)), "a variable is known to those after it"
    assert set(names) == {*asked, "NAMESPACE", "CLUSTER_DOMAIN"}


@EACH_OVERLAY
@pytest.mark.parametrize("name", [*PROCESSES, "proxy", "redis"])
def test_folders_are_those_of_compose(build: Build, name: str) -> None:
    service = services()[name]
    wanted = {}
    for volume in service.get("volumes", []):
        target, _, mode = volume.partition(":")[2].partition(":")
        wanted[target] = mode == "ro"
    wanted |= {entry.partition(":")[0]: False for entry in service.get("tmpfs", [])}
    wanted |= {"/dev/shm": False} if "shm_size" in service else {}
    if name == "proxy":  # one file there, its folder here
        wanted = {os.path.dirname(target): mode for target, mode in wanted.items()}
    for of_components in ("/models", "/chat-apis"):
        wanted.pop(of_components, None)
    mounted = {mount["mountPath"]: mount.get("readOnly", False) for mount in build.containers[name]["volumeMounts"]}
    assert mounted == wanted


def test_components_add_the_other_folders_of_compose() -> None:
    containers = BUILDS[-1].containers
    for name in ("api", "worker", "simulator", "respondent"):
        added = {mount["mountPath"] for mount in containers[name]["volumeMounts"] if mount.get("readOnly")}
        compose = {volume.split(":")[1] for volume in services()[name]["volumes"] if volume.endswith(":ro")}
        assert added == compose
