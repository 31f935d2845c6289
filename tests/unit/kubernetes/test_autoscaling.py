"""KEDA asks for what Prometheus holds, and its figures are those of the processes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from platolm.runs import RunState
from services.orchestrator.metrics.api import RunCollector
from services.orchestrator.metrics.survey import Survey
from tests.observability.catalogue import every_series
from tests.observability.deployed import rules
from tests.observability.promql import result_labels
from tests.unit.compose.stack_files import REPOSITORY
from tests.unit.kubernetes.manifests import Build, variables_of

BUILD = Build("cpu-demo", ("monitoring", "autoscaling"))
SCALED = ("respondent", "simulator", "worker")
EACH = pytest.mark.parametrize("name", SCALED)


def spec_of(name: str) -> dict[str, Any]:
    spec: dict[str, Any] = BUILD.named("ScaledObject", name)["spec"]
    return spec


def queries(name: str) -> dict[str, float]:
    """What is asked, and how much of it one replica is for."""
    return {one["metadata"]["query"]: float(one["metadata"]["threshold"]) for one in spec_of(name)["triggers"]}


def behind(query: str) -> str:
    """A query with what the rules record in place of the records' names, all the way down."""
    recorded = {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}
    while names := [name for name in recorded if name in query]:
        for name in names:
            query = query.replace(name, f"({recorded[name]})")
    return query


def test_what_is_scaled() -> None:
    assert sorted(one["metadata"]["name"] for one in BUILD.of_kind("ScaledObject")) == sorted(SCALED)


@EACH
def test_a_query_asks_for_one_number_of_what_there_is(name: str) -> None:
    for query in queries(name):
        labels = result_labels(query, every_series())
        assert labels <= {"side"}
        assert labels == set() or query.endswith(f'{{side="{name}"}}')


@EACH
def test_a_query_is_about_its_own_side(name: str) -> None:
    for query in queries(name):
        assert set(re.findall(r'side="(\w+)"', query)) == ({name} if name != "worker" else set())


@EACH
def test_a_figure_is_divided_among_the_replicas(name: str) -> None:
    for trigger in spec_of(name)["triggers"]:
        assert (trigger["type"], trigger["metricType"]) == ("prometheus", "AverageValue")


def test_workers_follow_the_backlog_that_the_api_tells() -> None:
    [query] = queries("worker")
    assert "platolm_backlog" in behind(query)
    assert 'platolm_run_conversations{state="in_flight"}' in behind(query), "a full worker is not one too many"
    collector = RunCollector()
    collector.survey = Survey(dict.fromkeys(RunState, 0), {}, 0, {})
    assert "platolm_backlog" in {family.name for family in collector.collect()}


def test_a_worker_is_for_as_many_conversations_as_it_carries() -> None:
    [per_worker] = queries("worker").values()
    assert per_worker == int(variables_of(BUILD, BUILD.containers["worker"])["PLATOLM_WORKER_MAX_IN_FLIGHT"])


@pytest.mark.parametrize("name", ["simulator", "respondent"])
def test_engines_follow_the_requests_that_wait(name: str) -> None:
    requests, caches = queries(name)
    assert "vllm:num_requests_waiting" in requests
    assert "vllm:num_requests_running" in requests, "waiting ones alone would shrink what just suffices"
    assert {"platolm_reserved_tokens", "platolm_replica_budget_tokens", "platolm_backlog"} <= set(
        re.findall(r"platolm_\w+", behind(caches))
    )


@EACH
def test_bounds(name: str) -> None:
    spec = spec_of(name)
    assert 1 <= spec["minReplicaCount"] < spec["maxReplicaCount"]
    text = (REPOSITORY / "deploy" / "haproxy" / "haproxy.cfg").read_text(encoding="utf-8")
    for most in re.findall(r"server-template replica 1-(\d+) ", text):
        assert spec["maxReplicaCount"] <= int(most), "the proxy would not know the others"


@EACH
def test_replicas_go_slower_than_they_come(name: str) -> None:
    behaviour = spec_of(name)["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    up, down = behaviour["scaleUp"], behaviour["scaleDown"]
    assert down["stabilizationWindowSeconds"] >= max(600, 2 * up["stabilizationWindowSeconds"])
    assert down["policies"][0]["value"] == 1
