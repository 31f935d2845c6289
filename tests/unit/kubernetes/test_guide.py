"""docs/kubernetes.md: its kustomization builds, and it tells of all that there is."""

from __future__ import annotations

import re

import yaml

from services.orchestrator.secrets import API_KEY, GRAFANA_PASSWORD, REDIS_PASSWORD, derived_files
from tests.unit.compose.stack_files import REPOSITORY
from tests.unit.kubernetes.manifests import (
    COMPONENTS,
    OVERLAYS,
    Build,
    container_of,
    kustomized,
    pod_of,
)
from tests.unit.kubernetes.test_schemas import VERSIONS, problems

TEXT = (REPOSITORY / "docs" / "kubernetes.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return TEXT.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_the_kustomization_builds() -> None:
    [example] = [block for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL) if "kind: Kustomization" in block]
    made = list(kustomized(yaml.safe_load(example.replace("../platolm-stack", str(REPOSITORY)))))
    found = {(one["kind"], one["metadata"]["name"]): one for one in made}
    assert [said for one in made for said in problems(one)] == []
    for side in ("simulator", "respondent"):
        assert found["ScaledObject", side]["spec"]["maxReplicaCount"] == 16
        image = container_of(found["StatefulSet", side])["image"]
        assert image == f"registry.example.org/platolm-{side}:0.1.0-gpu"
    told = {variable["name"] for variable in container_of(found["StatefulSet", "respondent"])["env"]}
    assert {"PLATOLM_RESPONDENT_MAX_MODEL_LEN", "PLATOLM_RESPONDENT_MODEL"} <= told


def test_every_overlay_and_component_is_there() -> None:
    assert set(re.findall(r"`overlays/([\w-]+)`", TEXT)) == set(OVERLAYS)
    assert set(re.findall(r"^\| `([\w-]+)` \|", section("Components"), re.MULTILINE)) == set(COMPONENTS)


def test_every_key_of_the_secret_is_there() -> None:
    keys = {API_KEY: "key", REDIS_PASSWORD: "word", GRAFANA_PASSWORD: "word"}
    table = "".join(line for line in section("Secrets").splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`([\w.]+)`", table)) == {*keys, *derived_files(keys)}


def test_the_versions_are_those_that_are_tested() -> None:
    assert f"Kubernetes {VERSIONS[0]} or newer" in TEXT
    assert f"({VERSIONS[0]} and {VERSIONS[1]})" in TEXT


def test_times_to_stop() -> None:
    rows = dict(re.findall(r"^\| ([\w ]+?) \|.*\| ([^|]+) \|$", section("Upgrades, drains, lost nodes"), re.MULTILINE))
    graces = {
        build.overlay: {
            name: pod_of(workload)["terminationGracePeriodSeconds"] for name, workload in build.workloads.items()
        }
        for build in (Build("cpu-demo"), Build("gpu"))
    }
    for side in ("simulator", "respondent"):
        assert rows["model server"] == f"{graces['cpu-demo'][side]} s ({graces['gpu'][side]} s)"
    for name in ("worker", "writer", "proxy"):
        assert rows[name] == f"{graces['cpu-demo'][name]} s"
    assert rows["API"] == f"{graces['cpu-demo']['api']} s"
