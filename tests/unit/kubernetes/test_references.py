"""What one object says of another is true: selectors, ports, volumes, targets."""

from __future__ import annotations

from tests.unit.kubernetes.manifests import (
    EACH_BUILD,
    WORKLOADS,
    Build,
    Object,
    container_of,
    pod_labels,
    pod_of,
    ports_of,
    selects,
)

BROUGHT_CLAIMS = {"models"}
BROUGHT_SECRETS = {"platolm", "hugging-face", "object-storage", "chat-apis", "platolm-tls"}
"""What the operator makes: docs/kubernetes.md."""
CLIENT = {"app.kubernetes.io/component": "client"}
"""Pods that are not of the stack and use it."""


def selected(build: Build, selector: Object) -> list[str]:
    """Names of the workloads whose pods a selector takes."""
    return [name for name, workload in build.workloads.items() if selects(selector, pod_labels(workload))]


@EACH_BUILD
def test_workloads_select_their_own_pods_alone(build: Build) -> None:
    for name, workload in build.workloads.items():
        assert selected(build, workload["spec"]["selector"]) == [name]
        for spread in pod_of(workload).get("topologySpreadConstraints", []):
            assert selected(build, spread["labelSelector"]) == [name]


@EACH_BUILD
def test_what_has_replicas_is_spread(build: Build) -> None:
    spread = {name for name, workload in build.workloads.items() if "topologySpreadConstraints" in pod_of(workload)}
    assert spread == {"proxy", "respondent", "simulator", "worker"}


@EACH_BUILD
def test_services_lead_to_ports_of_the_workload_of_their_name(build: Build) -> None:
    for service in build.of_kind("Service"):
        name = service["metadata"]["name"]
        assert selected(build, {"matchLabels": service["spec"]["selector"]}) == [name]
        open_ports = ports_of(build.containers[name])
        assert {port["name"]: port["port"] for port in service["spec"]["ports"]} == open_ports
        assert not any("targetPort" in port for port in service["spec"]["ports"]), "the same as the port"


@EACH_BUILD
def test_replicas_are_found_by_name_one_address_each(build: Build) -> None:
    for name in ("simulator", "respondent"):
        spec = build.named("Service", name)["spec"]
        assert spec["clusterIP"] == "None"
        assert spec["ipFamilyPolicy"] == "SingleStack"
        assert not spec.get("publishNotReadyAddresses"), "only those that have generated a token"
        assert build.workloads[name]["spec"]["serviceName"] == name


@EACH_BUILD
def test_each_workload_has_a_budget_that_lets_nodes_be_drained(build: Build) -> None:
    budgets = {budget["metadata"]["name"]: budget["spec"] for budget in build.of_kind("PodDisruptionBudget")}
    assert set(budgets) == set(build.workloads)
    for name, spec in budgets.items():
        assert selected(build, spec["selector"]) == [name]
        assert (spec.get("maxUnavailable"), spec.get("minAvailable")) in ((1, None), (None, 1))


def test_a_budget_keeps_one_only_where_there_are_two() -> None:
    for name, workload in Build("gpu").workloads.items():
        if "minAvailable" in Build("gpu").named("PodDisruptionBudget", name)["spec"]:
            assert workload["spec"]["replicas"] >= 2


@EACH_BUILD
def test_policies_are_about_pods_that_there_are(build: Build) -> None:
    everyone = [*map(pod_labels, build.workloads.values()), CLIENT]
    for policy in build.of_kind("NetworkPolicy"):
        assert any(selects(policy["spec"]["podSelector"], labels) for labels in everyone), policy["metadata"]["name"]


@EACH_BUILD
def test_volumes_are_there_and_are_mounted(build: Build) -> None:
    claims = {claim["metadata"]["name"] for claim in build.of_kind("PersistentVolumeClaim")} | BROUGHT_CLAIMS
    maps = {found["metadata"]["name"] for found in build.of_kind("ConfigMap")}
    for workload in build.workloads.values():
        volumes = {volume["name"]: volume for volume in pod_of(workload).get("volumes", [])}
        templates = {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
        mounts = container_of(workload)["volumeMounts"]
        assert sorted(mount["name"] for mount in mounts) == sorted({*volumes, *templates})
        assert len({mount["mountPath"] for mount in mounts}) == len(mounts)
        for volume in volumes.values():
            assert volume.get("persistentVolumeClaim", {}).get("claimName", "data") in claims
            assert volume.get("secret", {}).get("secretName", "platolm") in BROUGHT_SECRETS
            assert volume.get("configMap", {}).get("name", next(iter(maps))) in maps


@EACH_BUILD
def test_variables_come_from_what_there_is(build: Build) -> None:
    for container in build.containers.values():
        names = [variable["name"] for variable in container.get("env", [])]
        assert len(set(names)) == len(names), "the last one would win"
        for variable in container.get("env", []):
            source = variable.get("valueFrom", {})
            if "secretKeyRef" in source:
                assert source["secretKeyRef"]["name"] in BROUGHT_SECRETS
                assert source["secretKeyRef"]["optional"] is True
            elif "configMapKeyRef" in source:
                found = build.named("ConfigMap", source["configMapKeyRef"]["name"])
                assert source["configMapKeyRef"]["key"] in found["data"]


@EACH_BUILD
def test_api_and_writer_are_where_their_volume_is(build: Build) -> None:
    holders = [
        name
        for name, workload in build.workloads.items()
        if any("persistentVolumeClaim" in volume and volume["name"] == "data" for volume in pod_of(workload)["volumes"])
    ]
    assert sorted(holders) == ["api", "writer"]
    assert build.named("PersistentVolumeClaim", "data")["spec"]["accessModes"] == ["ReadWriteOnce"]
    for name in holders:
        workload = build.workloads[name]
        [term] = pod_of(workload)["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
        assert term["topologyKey"] == "kubernetes.io/hostname"
        assert selected(build, term["labelSelector"]) == sorted(holders, key=list(build.workloads).index)


@EACH_BUILD
def test_scaled_objects_and_ingresses_name_what_there_is(build: Build) -> None:
    for scaled in build.of_kind("ScaledObject"):
        target = scaled["spec"]["scaleTargetRef"]
        assert target["kind"] in WORKLOADS
        assert "replicas" not in build.named(target["kind"], target["name"])["spec"], (
            "each apply would undo the scaling"
        )
    for ingress in build.of_kind("Ingress"):
        hosts = [rule["host"] for rule in ingress["spec"]["rules"]]
        assert [host for tls in ingress["spec"]["tls"] for host in tls["hosts"]] == hosts
        assert {tls["secretName"] for tls in ingress["spec"]["tls"]} <= BROUGHT_SECRETS
        for rule in ingress["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                backend = path["backend"]["service"]
                ports = build.named("Service", backend["name"])["spec"]["ports"]
                assert backend["port"]["name"] in {port["name"] for port in ports}
