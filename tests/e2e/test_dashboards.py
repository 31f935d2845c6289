"""A real Prometheus over the whole stack, real engines too: every panel of every dashboard shows something."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.integration.orchestrator.processes import Api, wait_until
from tests.local_stack import RunningStack
from tests.observability.catalogue import gateway_metrics, vllm_metrics
from tests.observability.deployed import DASHBOARD_FILES, dashboard_expressions
from tests.observability.prometheus_server import PrometheusServer, prometheus

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

OF_TROUBLE = ("platolm_utterance_retries_total", "ALERTS")
"""What a run without trouble has none of; tests/integration/orchestrator/test_prometheus.py makes some."""


@pytest.fixture
def run_id(stack: RunningStack) -> Iterator[str]:
    """A run that is going, of short conversations, so that some end at every moment."""
    api = Api(stack.api_url)
    spec = {"conversations": 100_000, "endings": {"max_turns": 4}, "limits": {"in_flight": 16}}
    submitted = api.submit({"spec": spec})
    assert submitted.status_code == 201, submitted.text
    run_id: str = submitted.json()["id"]
    yield run_id
    api.act(run_id, "cancel")
    wait_until(lambda: api.run(run_id)["state"] == "cancelled", what="the run cancelled")


@pytest.fixture(scope="module")
def server(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrometheusServer]:
    def at(port_field: str) -> list[str]:
        return [f"127.0.0.1:{stack.ports[port_field]}"]

    targets = {
        "api": {"api": at("api_port")},
        "writer": {"writer": at("writer_health_port")},
        "worker": {"worker": at("worker_health_port")},
        "engine": {"simulator": at("simulator_engine_port"), "respondent": at("respondent_engine_port")},
        "gateway": {"simulator": at("simulator_port"), "respondent": at("respondent_port")},
    }
    with prometheus(tmp_path_factory.mktemp("prometheus"), targets) as server:
        everything = {"api": 1, "writer": 1, "worker": 1, "engine": 2, "gateway": 2}
        wait_until(lambda: server.targets_up() == everything, what="every target up")
        yield server


def test_every_panel_shows_something(stack: RunningStack, server: PrometheusServer, run_id: str) -> None:
    for port_field in ("simulator_port", "respondent_port"):
        httpx.get(f"{stack.url(port_field)}/v1/models", timeout=30).raise_for_status()
    asked = [one for path in DASHBOARD_FILES for one in dashboard_expressions(path)]
    server.wait_for_numbers(one for one in asked if not any(word in one.text for word in OF_TROUBLE))


def test_engines_tell_what_expressions_are_held_to(server: PrometheusServer) -> None:
    """vLLM's metrics as they are read in its source, against those of the engines that run."""
    suffix = {"histogram": "_count"}
    for name, (kind, labels) in vllm_metrics().items():
        found = server.query(name + suffix.get(kind, ""))
        added = {"__name__", "job", "instance", "side", "replica"}
        assert {sample.labels["side"] for sample in found} == {"simulator", "respondent"}, name
        assert all(sample.labels.keys() == labels | added for sample in found), name


def test_gateways_do_not_tell_again_what_their_engines_tell(server: PrometheusServer) -> None:
    wait_until(lambda: server.query("platolm_gateway_requests_in_flight"), what="the gateways are read")
    names = {sample.labels["__name__"] for sample in server.query('{job="gateway",__name__!~"up|scrape_.+"}')}
    assert names <= set(gateway_metrics())


def test_a_counter_is_one_series(server: PrometheusServer) -> None:
    wait_until(lambda: server.query("vllm:generation_tokens_total"), what="the engines are read")
    assert server.query('{__name__=~".+_created"}') == []
