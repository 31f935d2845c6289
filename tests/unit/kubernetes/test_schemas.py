"""Every object that kustomize makes is one that a cluster takes, by the schemas of Kubernetes and of two operators."""

from __future__ import annotations

import copy
import functools
import json
from collections.abc import Iterator
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]
import pytest

from tests.unit.kubernetes.manifests import BUILDS, EACH_BUILD, Build, Object

VERSIONS = ("1.30", "1.37")
"""The oldest that docs/kubernetes.md names, and the newest that is known here."""


@functools.cache
def operators() -> dict[tuple[str, str], Any]:
    """Models of the operators' objects, by version and kind. Importing them takes seconds."""
    from cloudcoil.models.keda import v1alpha1 as keda
    from cloudcoil.models.prometheus_operator import v1 as prometheus

    return {
        ("keda.sh/v1alpha1", "ScaledObject"): keda.ScaledObject,
        ("monitoring.coreos.com/v1", "PrometheusRule"): prometheus.PrometheusRule,
        ("monitoring.coreos.com/v1", "ServiceMonitor"): prometheus.ServiceMonitor,
    }


def problems(found: Object) -> Iterator[str]:
    """What is wrong with an object."""
    if found["apiVersion"].partition("/")[0] in ("keda.sh", "monitoring.coreos.com"):
        yield from operator_problems(found)
        return
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(found, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"{version}: {error.message}"


@functools.cache
def known_problems(text: str) -> list[str]:
    """The same of an object as JSON: most are alike in all builds."""
    return list(problems(json.loads(text)))


def operator_problems(found: Object) -> Iterator[str]:
    model = operators().get((found["apiVersion"], found["kind"]))
    if model is None:
        yield f"no {found['kind']} of {found['apiVersion']} is known here"
        return
    try:
        read = model.model_validate(found)
    except ValueError as error:
        yield str(error)
        return
    yield from unknown(found, read.model_dump(mode="json", by_alias=True, exclude_unset=True), found["kind"])


def unknown(given: Any, known: Any, place: str) -> Iterator[str]:
    """Fields that a model left out when it read an object: it has none of that name."""
    if isinstance(given, dict):
        for name, value in given.items():
            if not isinstance(known, dict) or name not in known:
                yield f"{place} has no {name}"
            else:
                yield from unknown(value, known[name], f"{place}.{name}")
    elif isinstance(given, list):
        for position, value in enumerate(given):
            yield from unknown(value, known[position], f"{place}[{position}]")


@EACH_BUILD
def test_objects_are_valid(build: Build) -> None:
    said = {f"{one['kind']} {one['metadata']['name']}": known_problems(json.dumps(one)) for one in build.objects}
    assert not any(said.values()), {name: problems for name, problems in said.items() if problems}


@EACH_BUILD
def test_everything_has_one_name_in_one_namespace(build: Build) -> None:
    names = [(one["kind"], one["metadata"]["name"]) for one in build.objects]
    assert len(set(names)) == len(names)
    assert {one["metadata"].get("namespace") for one in build.objects if one["kind"] != "Namespace"} == {"platolm"}


@pytest.mark.parametrize(
    ("kind", "name", "path", "value"),
    [
        ("Deployment", "worker", "spec.template.spec.containers.0.readinesProbe", {}),
        ("Deployment", "worker", "spec.replicas", "two"),
        ("StatefulSet", "simulator", "spec.template.spec.containers.0.resources.limits", "1"),
        ("NetworkPolicy", "api", "spec.ingres", []),
        ("PodDisruptionBudget", "worker", "spec.maxUnavailible", 1),
        ("ScaledObject", "worker", "spec.minReplicas", 1),
        ("ScaledObject", "worker", "spec.triggers", {}),
        ("ScaledObject", "worker", "spec.triggers.0.metdata", {}),
        ("ServiceMonitor", "api", "spec.endpoints.0.relabelings.0.targetlabel", "job"),
        ("PrometheusRule", "platolm", "spec.groups.0.rules.0.exp", "up"),
    ],
)
def test_mistakes_are_found(kind: str, name: str, path: str, value: Any) -> None:
    wrong = copy.deepcopy(BUILDS[-1].named(kind, name))
    *way, last = path.split(".")
    place: Any = wrong
    for step in way:
        place = place[int(step) if isinstance(place, list) else step]
    place[last] = value
    assert list(problems(wrong))
