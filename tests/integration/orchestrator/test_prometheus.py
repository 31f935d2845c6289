"""A real Prometheus, with the deployed configuration and rules, over a run that goes well and then does not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.fakes.engine import FakeEngine
from tests.integration.orchestrator.processes import api_process, wait_until
from tests.integration.orchestrator.small_stack import SmallStack, workers_of
from tests.observability.catalogue import every_series
from tests.observability.deployed import DASHBOARD_FILES, dashboard_expressions, rules
from tests.observability.prometheus_server import PrometheusServer, prometheus
from tests.redis_server import RedisServer

[RUNS] = [path for path in DASHBOARD_FILES if path.stem == "runs"]
CONVERSATIONS = 20_000
REFUSED = 3


def address(url: str) -> str:
    return urlsplit(url).netloc


@dataclass(frozen=True)
class Watched:
    """A run that is going, and will be for minutes, under Prometheus's eyes."""

    run_id: str
    stack: SmallStack
    simulator: FakeEngine
    respondent: FakeEngine
    server: PrometheusServer


@pytest.fixture(scope="module")
def watched(
    stack: SmallStack, byte_tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Watched]:
    """One for all tests of this module: Prometheus takes seconds to its first look."""
    folder = tmp_path_factory.mktemp("watched")
    with ExitStack() as ending:
        simulator, respondent = (
            ending.enter_context(FakeEngine(byte_tokenizer_folder, model, latency_s=0.05, kv_tokens=16_384).running())
            for model in ("socratic", "platolm")
        )
        workers = ending.enter_context(workers_of(stack, folder))
        worker = workers.start([simulator], [respondent])
        run_id = stack.submit(CONVERSATIONS, retries={"attempts": 1})
        targets = {
            "api": {"api": [address(stack.api.url)]},
            "writer": {"writer": [address(stack.writer.ready_url)]},
            "worker": {"worker": [address(worker.ready_url)]},
            "engine": {"simulator": [address(simulator.url)], "respondent": [address(respondent.url)]},
        }
        server = ending.enter_context(prometheus(folder / "prometheus", targets))
        everything = {"api": 1, "writer": 1, "worker": 1, "engine": 2}
        wait_until(lambda: server.targets_up() == everything, what="every target up")
        yield Watched(run_id, stack, simulator, respondent, server)


def test_every_panel_of_the_runs_dashboard_shows_something(watched: Watched) -> None:
    """Some conversations die on the way: then an alert stands, and there are causes to show."""
    server, run_id = watched.server, watched.run_id
    wait_until(lambda: server.query(f'platolm_run_conversations{{run="{run_id}"}}'), what="the run is seen")
    watched.respondent.failure_status, watched.respondent.failures = 400, REFUSED
    server.wait_for_numbers(dashboard_expressions(RUNS))
    [alert] = server.query('ALERTS{alertstate="firing"}')
    assert (alert.labels["alertname"], alert.labels["run"]) == ("ConversationsDying", run_id)
    dead = 'platolm_run_conversations{state="dead"}'
    wait_until(lambda: [sample.value for sample in server.query(dead)] == [REFUSED], what="each death is counted")


def test_rules_are_evaluated_without_an_error(watched: Watched) -> None:
    server = watched.server
    healthy = {rule.get("alert") or rule["record"]: "ok" for rule in rules()}
    wait_until(lambda: "unknown" not in server.rule_health().values(), what="every rule evaluated")
    assert server.rule_health() == healthy
    wait_until(lambda: server.query("run:platolm_run_left_seconds:estimate > 0"), what="an estimate")
    [total] = server.query("run:platolm_run_conversations_done:sum + run:platolm_run_conversations_left:sum")
    assert (total.labels, total.value) == ({"run": watched.run_id}, CONVERSATIONS)


def test_an_engine_has_the_same_name_for_itself_and_for_workers(watched: Watched) -> None:
    server = watched.server
    both = "platolm_replica_running and on (side, replica) vllm:num_requests_running"
    wait_until(lambda: len(server.query(both)) == 2, what="both engines")
    assert {(sample.labels["side"], sample.labels["replica"]) for sample in server.query(both)} == {
        ("simulator", watched.simulator.url),
        ("respondent", watched.respondent.url),
    }


def test_series_have_the_labels_that_expressions_are_held_to(watched: Watched) -> None:
    found = watched.server.query('{__name__=~"platolm_.+|run:.+|up"}')
    assert len({sample.labels["__name__"] for sample in found}) > 40
    for sample in found:
        name = sample.labels["__name__"]
        assert sample.labels.keys() - {"__name__"} <= every_series()[name].labels, name


def test_the_key_opens_the_apis_metrics(redis_server: RedisServer, tmp_path: Path) -> None:
    right, wrong = "the-key-of-this-test", "some-other-key"
    api = api_process(tmp_path, redis_server.url, api_keys=right).start()
    targets = {"api": {"api": [address(api.ready_url)]}}
    try:
        with (
            prometheus(tmp_path / "with-key", targets, api_key=right) as let_in,
            prometheus(tmp_path / "without", targets, api_key=wrong) as kept_out,
        ):
            wait_until(lambda: let_in.targets_up() == {"api": 1}, what="the API's metrics are read")
            wait_until(lambda: kept_out.targets_up() == {"api": 0}, what="the API refuses")
            assert let_in.query("platolm_redis_up")
            assert not kept_out.query("platolm_redis_up")
    finally:
        api.end()
