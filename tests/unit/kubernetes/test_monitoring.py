"""What Prometheus does in a cluster is what it does in Compose: the same jobs, labels, rules and dashboards."""

from __future__ import annotations

import re
from typing import Any

from services.orchestrator.secrets import API_KEY
from tests.observability.deployed import CONFIG_FILE, DASHBOARD_FILES, load_yaml
from tests.observability.prometheus_rule import RULE_OBJECT_FILE, rule_object
from tests.unit.kubernetes.manifests import Build, selects

BUILD = Build("cpu-demo", ("monitoring",))
_FROM_NAME = {"__meta_dns_name": "__meta_kubernetes_service_name"}


def jobs() -> dict[str, dict[str, Any]]:
    found: list[dict[str, Any]] = load_yaml(CONFIG_FILE)["scrape_configs"]
    return {job["job_name"]: job for job in found}


def monitors() -> dict[str, dict[str, Any]]:
    return {one["metadata"]["name"]: one["spec"] for one in BUILD.of_kind("ServiceMonitor")}


def endpoint(name: str) -> dict[str, Any]:
    found: dict[str, Any]
    [found] = monitors()[name]["endpoints"]
    return found


def snake(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Relabellings in the words of Prometheus's own configuration."""
    return [
        {re.sub(r"([A-Z])", lambda found: f"_{found[1].lower()}", key): step[key] for key in step} for step in steps
    ]


def test_the_same_is_scraped_at_the_same_ports() -> None:
    assert set(monitors()) == set(jobs())
    for name, spec in monitors().items():
        reached = {
            (service["metadata"]["name"], port["port"])
            for service in BUILD.of_kind("Service")
            if selects(spec["selector"], service["metadata"]["labels"])
            for port in service["spec"]["ports"]
            if port["name"] == endpoint(name)["port"]
        }
        assert reached == {(host, found["port"]) for found in jobs()[name]["dns_sd_configs"] for host in found["names"]}


def test_series_have_the_same_labels() -> None:
    for name, job in jobs().items():
        ours = snake(endpoint(name)["relabelings"])
        assert ours[0] == {"target_label": "job", "replacement": name}
        theirs = job.get("relabel_configs", [])
        assert ours[1:] == [
            {
                key: [_FROM_NAME.get(label, label) for label in value] if key == "source_labels" else value
                for key, value in step.items()
            }
            for step in theirs
        ]
        assert snake(endpoint(name).get("metricRelabelings", [])) == job.get("metric_relabel_configs", [])


def test_as_often() -> None:
    every = load_yaml(CONFIG_FILE)["global"]
    for name in jobs():
        assert endpoint(name)["interval"] == every["scrape_interval"]
        assert endpoint(name)["scrapeTimeout"] == every["scrape_timeout"]


def test_only_the_api_asks_for_a_key() -> None:
    guarded = {name: endpoint(name)["authorization"] for name in jobs() if "authorization" in endpoint(name)}
    assert guarded == {"api": {"credentials": {"name": "platolm", "key": API_KEY}}}
    assert {name for name, job in jobs().items() if "authorization" in job} == {"api"}


def test_the_rules_are_those_of_prometheus() -> None:
    assert RULE_OBJECT_FILE.read_text(encoding="utf-8") == rule_object(), "write it again: make kubernetes"


def test_grafanas_sidecar_finds_every_dashboard() -> None:
    found = BUILD.named("ConfigMap", "grafana-dashboards")
    assert found["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert found["data"] == {path.name: path.read_text(encoding="utf-8") for path in DASHBOARD_FILES}
