"""The check of PromQL expressions finds what is wrong with them, and what Prometheus and vLLM can tell."""

from __future__ import annotations

import pytest

from tests.observability.catalogue import conversation_states, every_series, target_labels, vllm_metrics
from tests.observability.deployed import plain
from tests.observability.promql import Series, WrongExpressionError, result_labels

SERIES = {
    "requests_total": Series("counter", frozenset({"route", "status", "instance"})),
    "seconds_bucket": Series("counter", frozenset({"route", "le"})),
    "runs": Series("gauge", frozenset({"state", "instance"}), {"state": frozenset({"running", "paused"})}),
    "budget": Series("gauge", frozenset({"side", "replica"})),
    "reserved": Series("gauge", frozenset({"replica"})),
}


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("runs", {"state", "instance"}),
        ('max by (state) (runs{state="paused"}) > 0', {"state"}),
        ('sum(runs{state=~"running|paused"})', set()),
        ('runs{state!="paused"}', {"state", "instance"}),
        ("1 - sum by (route) (rate(requests_total[5m]))", {"route"}),
        ("deriv(runs[10m])", {"state", "instance"}),
        ("histogram_quantile(0.95, sum by (route, le) (rate(seconds_bucket[5m])))", {"route"}),
        ("max(reserved) unless on () runs", set()),
        ("sum by (replica) (budget) / on (replica) reserved", {"replica"}),
        ("reserved / on (replica) group_right () (budget > 0)", {"side", "replica"}),
        ("budget * on (replica) group_left () reserved", {"side", "replica"}),
        ("max by (side) (budget) or reserved", {"side", "replica"}),
        ('label_replace(max(reserved), "side", "x", "", "")', {"side"}),
        ('absent(runs{state="paused"} == 1)', set()),
    ],
)
def test_labels_of_what_is_right(text: str, labels: set[str]) -> None:
    assert result_labels(text, SERIES) == labels


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("sum(", "unclosed left parenthesis"),
        ("rate(requests_total)", "expected type matrix"),
        ("run", "there is no run"),
        ('{route="/"}', "there is no None"),
        ("requests_total > 5", "is a counter, used as a gauge"),
        ("sum(rate(runs[5m]))", "is a gauge, used as a counter"),
        ("delta(requests_total[5m])", "is a counter, used as a gauge"),
        ('runs{route="/"}', "runs has no label route"),
        ('runs{state="puased"}', "no state puased, only paused, running"),
        ('runs{state=~"running|puased"}', "no state puased"),
        ('runs{state="running|paused"}', r"no state running\\|paused"),
        ("sum by (run) (runs)", "no label run in"),
        ("sum without (state) (runs)", "say `by`"),
        ("max by (state) (runs) / sum by (instance) (runs)", "nothing matches"),
        ("max by (state) (runs) and reserved", "nothing matches"),
        ("budget / on (side) reserved", "no label side"),
        ("budget / ignoring (side) reserved", "say `on`"),
        ("histogram_quantile(0.9, sum by (route) (rate(seconds_bucket[5m])))", "no label le"),
        ("avg_over_time(runs[5m])", "avg_over_time is not known"),
        ("max_over_time(max(runs)[5m:])", "max_over_time is not known"),
    ],
)
def test_what_is_wrong_is_named(text: str, problem: str) -> None:
    with pytest.raises(WrongExpressionError, match=problem):
        result_labels(text, SERIES)


def test_grafanas_variables_stand_at_all() -> None:
    asked = 'rate(requests_total{route=~"$route"}[$__rate_interval]) + increase(requests_total[$__range])'
    assert plain(asked) == 'rate(requests_total{route=~".*"}[1m]) + increase(requests_total[1h])'
    assert plain(asked, rate_interval="15s") == (
        'rate(requests_total{route=~".*"}[15s]) + increase(requests_total[1h])'
    )


def test_each_job_adds_its_labels() -> None:
    both = {"job", "instance"}
    assert target_labels() == {
        "api": both,
        "writer": both,
        "worker": both,
        "engine": {*both, "side", "replica"},
        "gateway": {*both, "side"},
    }


def test_where_conversations_can_be() -> None:
    assert conversation_states() == {"unfed", "queued", "in_flight", "finished", "committed", "dead"}


def test_what_prometheus_holds() -> None:
    series = every_series()
    both = {"job", "instance"}
    assert series["up"].labels == {*both, "side", "replica"}
    assert series["platolm_utterance_seconds_bucket"] == Series(
        "counter",
        frozenset({*both, "side", "le"}),
        {"side": frozenset({"simulator", "respondent"}), "job": frozenset(target_labels())},
    )
    assert series["platolm_gateway_requests_total"].labels == {*both, "side", "route", "status"}
    assert series["run:platolm_run_left_seconds:estimate"] == Series("gauge", frozenset({"run"}))
    assert series["ALERTS"].labels >= {"alertname", "alertstate", "severity", "run", "route", "replica"}
    assert "platolm_utterance_seconds" not in series


def test_vllms_metrics_are_read_from_its_source() -> None:
    found, engine = vllm_metrics(), frozenset({"model_name", "engine"})
    assert found["vllm:num_requests_running"] == ("gauge", engine)
    assert found["vllm:request_success_total"] == ("counter", engine | {"finished_reason"})
    assert found["vllm:iteration_tokens_total"] == ("histogram", engine)
    assert "vllm:corrupted_requests_total" not in found, "told in some configurations only"
