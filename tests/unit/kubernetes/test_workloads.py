"""Pods do what the services of docker-compose.yml do, may do as little, and are stopped as patiently."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi import FastAPI
from pydantic import SecretStr

from platolm import __version__
from platolm.tokenizer import HubTokenizer
from services.gateway import quiet
from services.gateway.app import create_app as create_gateway
from services.gateway.engine import EngineBuild, engine_command
from services.gateway.state import ServerState
from services.orchestrator import app, worker, writer
from services.orchestrator.settings import ApiSettings, WorkerSettings
from services.orchestrator.web.auth import OPEN_PATHS
from services.simulator.settings import SimulatorSettings
from tests.unit.compose.stack_files import seconds, services
from tests.unit.kubernetes.manifests import (
    EACH_BUILD,
    EACH_OVERLAY,
    Build,
    Object,
    pod_of,
    ports_of,
    variables_of,
)

OWN_IMAGES = {"platolm-orchestrator", "platolm-simulator", "platolm-respondent"}
ENGINES = ("simulator", "respondent")
RESTRICTED_VOLUMES = {"configMap", "emptyDir", "persistentVolumeClaim", "secret"}
ALL = ("api", "proxy", "redis", "respondent", "simulator", "worker", "writer")
EACH_NAME = pytest.mark.parametrize("name", ALL)


@EACH_OVERLAY
def test_every_lasting_service_is_there(build: Build) -> None:
    assert set(build.workloads) == set(ALL)


@EACH_OVERLAY
@EACH_NAME
def test_images(build: Build, name: str) -> None:
    image, _, tag = build.containers[name]["image"].partition(":")
    theirs, _, their_tag = services()[name]["image"].partition(":")
    assert image == theirs
    if image in OWN_IMAGES:
        suffix = "-gpu" if build.overlay == "gpu" and name in ENGINES else ""
        assert tag in (f"{__version__}{suffix}", their_tag + suffix)
    else:
        assert tag == their_tag


@EACH_OVERLAY
@EACH_NAME
def test_commands(build: Build, name: str) -> None:
    container = build.containers[name]
    assert container.get("command", container.get("args")) == services()[name].get("command")
    assert not {"command", "args"} <= set(container)


@EACH_BUILD
def test_pods_may_do_little(build: Build) -> None:
    for workload in build.workloads.values():
        pod = pod_of(workload)
        assert pod["serviceAccountName"] == "platolm"
        assert pod["automountServiceAccountToken"] is False
        assert pod["enableServiceLinks"] is False
        assert not {"hostNetwork", "hostPID", "hostIPC", "initContainers"} & set(pod)
        context = pod["securityContext"]
        assert context["runAsNonRoot"] is True
        assert context["runAsUser"] > 0
        assert context["runAsUser"] == context["runAsGroup"] == context["fsGroup"]
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        for volume in pod["volumes"]:
            assert set(volume) - {"name"} <= RESTRICTED_VOLUMES
            assert "sizeLimit" in volume.get("emptyDir", {"sizeLimit": None})
    for container in build.containers.values():
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
    labels = build.named("Namespace", "platolm")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


@EACH_OVERLAY
def test_users_are_those_of_the_images(build: Build) -> None:
    users = {name: pod_of(workload)["securityContext"]["runAsUser"] for name, workload in build.workloads.items()}
    assert (users.pop("redis"), users.pop("proxy")) == (999, 99)  # of the official images
    assert set(users.values()) == {1000}, "as USER in the Dockerfiles"


@EACH_OVERLAY
@EACH_NAME
def test_resources(build: Build, name: str) -> None:
    resources = build.containers[name]["resources"]
    assert set(resources["requests"]) == {"cpu", "memory"}
    assert "cpu" not in resources["limits"]
    limit = re.sub(r"([mg])$", lambda unit: {"m": "Mi", "g": "Gi"}[unit[1]], services()[name]["mem_limit"])
    if build.overlay == "gpu" and name in ENGINES:
        limit = services("docker-compose.gpu.yml")[name]["mem_limit"].replace("g", "Gi")
        assert resources["limits"].pop("nvidia.com/gpu") == 1
        assert pod_of(build.workloads[name])["tolerations"][0]["key"] == "nvidia.com/gpu"
    assert resources["limits"] == {"memory": limit}


def probe_port(container: Object, probe: Object) -> int:
    action = probe.get("httpGet") or probe["tcpSocket"]
    return ports_of(container)[action["port"]]


@EACH_OVERLAY
@pytest.mark.parametrize("name", ["api", "respondent", "simulator", "worker", "writer"])
def test_ready_means_what_healthy_means_in_compose(build: Build, name: str) -> None:
    health, container = services()[name]["healthcheck"], build.containers[name]
    [(port, path)] = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", health["test"][-1])
    probe = container["readinessProbe"]
    assert probe["httpGet"]["path"] == path
    assert probe_port(container, probe) == int(port)
    assert_patience(probe, health)


def assert_patience(probe: Object, health: Object) -> None:
    assert probe["periodSeconds"] == seconds(health["interval"])
    assert probe["timeoutSeconds"] == seconds(health["timeout"])
    assert probe["failureThreshold"] == health["retries"]


@EACH_OVERLAY
def test_redis_is_ready_when_it_answers(build: Build) -> None:
    health, container = services()["redis"]["healthcheck"], build.containers["redis"]
    for probe in (container["readinessProbe"], container["startupProbe"]):
        assert probe["exec"]["command"] == ["sh", "-c", health["test"][1].replace("$$", "$")]
    assert_patience(container["readinessProbe"], health)
    startup = container["startupProbe"]
    assert startup["periodSeconds"] * startup["failureThreshold"] >= seconds(health["start_period"])


@EACH_OVERLAY
def test_a_proxy_stays_when_a_side_has_no_replica(build: Build) -> None:
    container = build.containers["proxy"]
    for probe in ("readinessProbe", "livenessProbe"):
        assert set(container[probe]) & {"tcpSocket", "httpGet", "exec"} == {"tcpSocket"}
        assert probe_port(container, container[probe]) in ports_of(container).values()


@EACH_BUILD
def test_a_process_is_ended_for_what_it_is_itself_and_not_for_others(build: Build) -> None:
    for name, container in build.containers.items():
        live = container["livenessProbe"]
        assert live.get("httpGet", {"path": "/healthz"})["path"] == "/healthz"
        assert "exec" not in live
        assert live["periodSeconds"] * live["failureThreshold"] >= 30
        if name in ("api", "worker", "writer"):
            assert container["startupProbe"]["httpGet"]["path"] == "/healthz", "Redis or engines may come later"


@EACH_OVERLAY
@pytest.mark.parametrize("name", ENGINES)
def test_a_model_server_may_take_as_long_to_start_as_it_allows_itself(build: Build, name: str) -> None:
    told = variables_of(build, build.containers[name])
    default = SimulatorSettings.model_fields["startup_timeout_s"].default
    startup = build.containers[name]["startupProbe"]
    assert startup["httpGet"] == build.containers[name]["readinessProbe"]["httpGet"]
    limit_s = float(told.get(f"PLATOLM_{name.upper()}_STARTUP_TIMEOUT_S", default))
    assert limit_s < startup["periodSeconds"] * startup["failureThreshold"] <= limit_s + 60


def paths_of(served: FastAPI) -> set[str]:
    return {path for route in served.routes if (path := getattr(route, "path", None)) is not None}


def test_probes_ask_for_what_is_served_without_a_key(tiny_tokenizer: HubTokenizer) -> None:
    asked = {"/healthz", "/readyz"}
    assert asked <= OPEN_PATHS
    assert asked <= paths_of(app.create_app(ApiSettings(api_keys=SecretStr("a-long-key-0123"))))
    assert asked <= paths_of(create_gateway(SimulatorSettings(model="org/model"), tiny_tokenizer, ServerState()))
    build = Build("gpu")
    paths = {
        probe["httpGet"]["path"]
        for container in build.containers.values()
        for probe in (container.get(f"{kind}Probe", {}) for kind in ("startup", "readiness", "liveness"))
        if "httpGet" in probe
    }
    assert paths == asked


def hook_s(container: Object) -> float:
    """The longest that a pod's hook takes."""
    if "lifecycle" not in container:
        return 0
    command = container["lifecycle"]["preStop"]["exec"]["command"]
    if command[0] == "sleep":
        return float(command[1])
    return float(command[command.index("--timeout-s") + 1]) + 5  # one look, and Python's own start


def own_end_s(name: str) -> float:
    """The longest that a process takes to end when it is told to."""
    if name in ENGINES:
        settings = SimulatorSettings(model="org/model")
        return settings.drain_timeout_s + engine_command(settings, EngineBuild.GPU).grace_s
    known: dict[str, Any] = {
        "api": app.SHUTDOWN_S,
        "writer": writer.SHUTDOWN_S,
        "worker": WorkerSettings().drain_timeout_s + worker.DRAIN_MARGIN_S,
        "proxy": 60,  # hard-stop-after, which tests/unit/compose/test_haproxy.py holds
        "redis": 0,
    }
    return float(known[name])


@EACH_BUILD
def test_nobody_is_killed_while_it_drains(build: Build) -> None:
    for name, workload in build.workloads.items():
        grace_s = pod_of(workload)["terminationGracePeriodSeconds"]
        assert grace_s >= hook_s(build.containers[name]) + own_end_s(name) + 5, name


@EACH_OVERLAY
def test_what_services_lead_to_waits_until_nobody_is_sent_there(build: Build) -> None:
    assert {name for name, container in build.containers.items() if hook_s(container) >= 5} == {
        "api",
        "proxy",
        *ENGINES,
    }


@EACH_OVERLAY
@pytest.mark.parametrize("name", ENGINES)
def test_the_hook_of_a_model_server_asks_its_engine(build: Build, name: str) -> None:
    container = build.containers[name]
    [python, m, module, url, *options] = container["lifecycle"]["preStop"]["exec"]["command"]
    assert [python, m, module] == ["python", "-m", quiet.__name__]
    assert url == f"http://127.0.0.1:{ports_of(container)['engine']}/metrics"
    assert quiet.main(["http://127.0.0.1:1/metrics", *options]) == 0, "nobody listens there, the options are known"


@EACH_OVERLAY
@pytest.mark.parametrize("name", ENGINES)
def test_each_replica_has_a_cache_that_goes_with_it(build: Build, name: str) -> None:
    spec = build.workloads[name]["spec"]
    [claim] = spec["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "hub"
    assert spec["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Delete", "whenScaled": "Delete"}
    assert spec["podManagementPolicy"] == "Parallel"


@EACH_OVERLAY
def test_the_queue_outlives_its_pod(build: Build) -> None:
    spec = build.workloads["redis"]["spec"]
    assert [claim["metadata"]["name"] for claim in spec["volumeClaimTemplates"]] == ["data"]
    assert "persistentVolumeClaimRetentionPolicy" not in spec, "kept, as is the default"
    assert spec["replicas"] == 1
