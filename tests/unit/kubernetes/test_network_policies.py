"""The network policies allow what the services need, and nothing else."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest

from services.orchestrator.secrets import API_KEY, GRAFANA_PASSWORD, REDIS_PASSWORD, derived_files
from tests.unit.kubernetes.manifests import EACH_BUILD, EACH_OVERLAY, Build, variables_of
from tests.unit.kubernetes.reach import CLIENT, Edge, edges, let_in, one_way, pods, rules, ways_out, who_asks_names

HTTPS = 443


def told_edges(build: Build) -> set[Edge]:
    """What the processes are told to reach, in the variables, the secrets and the proxy's configuration."""
    found = {
        (name, host_of(url), port_of(url))
        for name, container in build.containers.items()
        for variable, value in variables_of(build, container).items()
        if variable.startswith("PLATOLM_")
        for url in value.split(",")
        if url.startswith("http")
    }
    if "redis" in build.workloads:
        files = derived_files({API_KEY: "key", REDIS_PASSWORD: "word", GRAFANA_PASSWORD: "word"})
        urls = {name.split("_")[1]: url for name, url in files.items() if name.endswith("_redis_url")}
        found |= {(name, host_of(url), port_of(url)) for name, url in urls.items()}
    text = build.proxy_configuration
    asked = re.findall(r'server-template .* "\$\{(\w+)_HOST\}:(\d+)"', text)
    return found | {("proxy", side.lower(), int(port)) for side, port in asked}


def host_of(url: str) -> str:
    return urlsplit(url).hostname or ""


def port_of(url: str) -> int:
    return urlsplit(url).port or 0


def open_edges(build: Build) -> set[Edge]:
    """What applications in the cluster use: what Compose publishes."""
    return {(CLIENT, "api", 8000), (CLIENT, "proxy", 8001), (CLIENT, "proxy", 8002)}


@EACH_BUILD
def test_what_is_told_is_allowed_and_nothing_else(build: Build) -> None:
    assert edges(build) == told_edges(build) | open_edges(build)


@EACH_BUILD
def test_each_edge_is_allowed_at_both_ends(build: Build) -> None:
    assert one_way(build, "Ingress") == one_way(build, "Egress")


@EACH_BUILD
def test_everything_else_is_denied(build: Build) -> None:
    denied = build.named("NetworkPolicy", "default-deny")["spec"]
    assert denied == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name in pods(build):
        for rule in [*rules(build, name, "Ingress"), *rules(build, name, "Egress")]:
            assert rule.get("from") or rule.get("to"), "a rule without peers is about everybody"
            assert rule["ports"], "a rule without ports is about all of them"
            assert {} not in (rule.get("from") or rule["to"])


@EACH_BUILD
def test_who_uses_names_may_ask_for_them(build: Build) -> None:
    needing = {source for source, _, _ in edges(build)}
    assert who_asks_names(build) == needing | {name for name, _ in ways_out(build)}


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (Build("cpu-demo"), {}),
        (Build("gpu"), {HTTPS: {"api", "respondent", "simulator", "worker"}}),
        (Build("cpu-demo", ("object-storage",)), {HTTPS: {"api", "writer"}}),
        (Build("cpu-demo", ("chat-apis",)), {HTTPS: {"worker"}}),
        (Build("cpu-demo", ("managed-redis",)), {6379: {"api", "worker", "writer"}}),
        (Build("cpu-demo", ("monitoring", "autoscaling")), {}),
    ],
    ids=lambda value: str(value) if isinstance(value, Build) else "",
)
def test_ways_out_of_the_cluster(build: Build, expected: dict[int, set[str]]) -> None:
    assert ways_out(build) == {(name, port) for port, names in expected.items() for name in names}


@EACH_OVERLAY
def test_nobody_comes_in_from_other_namespaces(build: Build) -> None:
    assert let_in(build) == set()


def test_prometheus_comes_in_where_it_scrapes() -> None:
    build = Build("cpu-demo", ("monitoring",))
    ports = {name: container["ports"] for name, container in build.containers.items()}
    scraped = {
        ("monitoring", name, port["containerPort"])
        for name in ("api", "writer", "worker", "simulator", "respondent")
        for port in ports[name]
    }
    assert let_in(build) == scraped


def test_the_ingress_controller_comes_in_where_it_leads() -> None:
    build = Build("cpu-demo", ("ingress",))
    assert let_in(build) == {
        ("ingress-nginx", "api", 8000),
        ("ingress-nginx", "proxy", 8001),
        ("ingress-nginx", "proxy", 8002),
    }
