"""Every series that Prometheus can hold here: our processes', vLLM's, its own, and what the rules record."""

from __future__ import annotations

import ast
import functools
import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, Literal

from prometheus_client import CollectorRegistry

from platolm.conversation import TerminationReason
from platolm.runs import RunState
from services.gateway.admission import GatewayMetrics
from services.orchestrator.metrics.api import RunCollector
from services.orchestrator.metrics.registry import process_registry
from services.orchestrator.metrics.survey import RunCounts, Survey
from services.orchestrator.metrics.worker import SIDES, RetryCause
from tests.observability.deployed import CONFIG_FILE, DEPLOY, alerts, load_yaml, rules
from tests.observability.promql import Labels, Series, result_labels

REFERENCE = DEPLOY.parent / "docs" / "metrics.md"
JOB_OF_SECTION = {"Workers": "worker", "API": "api", "Writers": "writer"}

MetricKind = Literal["counter", "gauge", "histogram"]
_KIND_OF_CLASS: dict[str, MetricKind] = {
    "_counter_cls": "counter",
    "_gauge_cls": "gauge",
    "_histogram_cls": "histogram",
}


@functools.cache
def every_series() -> dict[str, Series]:
    """All of them by name, with the labels that scraping adds."""
    targets = target_labels()
    found: dict[str, Series] = {"up": _with_values("up", Series("gauge", frozenset().union(*targets.values())))}
    for section, job in JOB_OF_SECTION.items():
        found |= _scraped(documented(section), targets[job])
    found |= _scraped(told_by(process_registry()), targets["api"])
    found |= _scraped(gateway_metrics(), targets["gateway"])
    found |= _scraped(vllm_metrics(), targets["engine"])
    for rule in rules():
        if "record" in rule:
            found[rule["record"]] = Series("gauge", result_labels(rule["expr"], found))
    found["ALERTS"] = _alerts(found)
    return found


def target_labels() -> dict[str, Labels]:
    """By scrape job, the labels that each of its series gets."""
    return {
        job["job_name"]: frozenset(
            {"job", "instance", *(relabelling["target_label"] for relabelling in job.get("relabel_configs", []))}
        )
        for job in load_yaml(CONFIG_FILE)["scrape_configs"]
    }


Metrics = Mapping[str, tuple[MetricKind, Labels]]
"""Type and labels by name; a counter's ends in `_total`, a histogram's has no suffix."""


def documented(section: str) -> Metrics:
    """A section's table of docs/metrics.md, which tests/unit/orchestrator/test_metrics.py holds to the code."""
    text = REFERENCE.read_text(encoding="utf-8").partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    rows = [line.strip("|").split("|") for line in text.splitlines() if line.startswith("| `platolm_")]
    return {
        name.strip(" `"): (
            _kind(kind.strip()),
            frozenset(label.strip() for label in labels.split(",") if label.strip()),
        )
        for name, kind, labels, _ in rows
    }


def gateway_metrics() -> Metrics:
    metrics = GatewayMetrics()
    metrics.requests.labels("/v1/models", "200").inc()
    return told_by(metrics.registry)


def told_by(registry: CollectorRegistry) -> Metrics:
    """What a registry shows now."""
    return {
        family.name + ("_total" if family.type == "counter" else ""): (
            _kind(family.type),
            frozenset(label for sample in family.samples for label in sample.labels) - {"le"},
        )
        for family in registry.collect()
    }


def vllm_metrics() -> Metrics:
    """What the installed vLLM tells in any configuration, read in its source: importing it takes many seconds.

    Raises:
        LookupError: vLLM is not installed, or its source reads otherwise than expected.
    """
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        raise LookupError("vLLM is not installed")
    source = Path(spec.origin).parent / "v1" / "metrics" / "loggers.py"
    made = _constructor(ast.parse(source.read_text(encoding="utf-8")), "PrometheusStatLogger")
    always = [statement for statement in made.body if not isinstance(statement, ast.If)]
    [base] = [_strings(node.value, []) for node in always if _assigns(node, "labelnames")]  # type: ignore[attr-defined]
    calls = [node for statement in always for node in ast.walk(statement) if isinstance(node, ast.Call)]
    return dict(_vllm_metric(call, base) for call in calls if _class_called(call) in _KIND_OF_CLASS)


def _vllm_metric(call: ast.Call, base: list[str]) -> tuple[str, tuple[MetricKind, Labels]]:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    [name] = _strings(given["name"], base)
    kind = _KIND_OF_CLASS[_class_called(call)]
    return name + ("_total" if kind == "counter" else ""), (kind, frozenset(_strings(given["labelnames"], base)))


def _constructor(module: ast.Module, class_name: str) -> ast.FunctionDef:
    [found] = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == class_name]
    [made] = [node for node in found.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
    return made


def _assigns(node: ast.stmt, name: str) -> bool:
    return isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == [name]


def _class_called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _strings(node: ast.expr, base: list[str]) -> list[str]:
    """A string, a list of them, or `labelnames + [...]`."""
    match node:
        case ast.Constant(value=str() as text):
            return [text]
        case ast.List(elts=elements):
            return [text for element in elements for text in _strings(element, base)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return _strings(left, base) + _strings(right, base)
        case ast.Name(id="labelnames"):
            return base
    raise LookupError(f"vLLM's metrics are not made as expected: {ast.unparse(node)}")


def _scraped(metrics: Metrics, target: Labels) -> dict[str, Series]:
    """Each metric's series as Prometheus stores them."""
    found: dict[str, Series] = {}
    for name, (kind, labels) in metrics.items():
        labels |= target
        if kind == "histogram":
            found |= {f"{name}_{part}": Series("counter", labels) for part in ("sum", "count")}
            found[f"{name}_bucket"] = Series("counter", labels | {"le"})
        else:
            found[name] = Series(kind, labels)
    return {name: _with_values(name, series) for name, series in found.items()}


def _with_values(name: str, series: Series) -> Series:
    """Adds what is known of its labels' values."""
    known: dict[str, Iterable[str]] = {
        "job": target_labels(),
        "side": SIDES,
        "cause": list(RetryCause),
        "state": list(RunState) if name == "platolm_runs" else conversation_states(),
    }
    if name == "platolm_conversations_ended_total":
        known["reason"] = list(TerminationReason)
    return replace(series, values={label: frozenset(known[label]) for label in series.labels & known.keys()})


def conversation_states() -> set[str]:
    """Where a run's conversations can be, as the API tells it."""
    counts: dict[str, Any] = dict.fromkeys((field.name for field in fields(RunCounts)), 0) | {"state": RunState.RUNNING}
    collector = RunCollector()
    collector.survey = Survey({}, {"run-a": RunCounts(**counts)}, 0, {})
    samples = (sample for family in collector.collect() for sample in family.samples)
    return {sample.labels["state"] for sample in samples if sample.name == "platolm_run_conversations"}


def _alerts(series: Mapping[str, Series]) -> Series:
    """Prometheus's own series of the alerts that stand."""
    labels = {"alertname", "alertstate"}
    for alert in alerts():
        labels |= set(alert["labels"]) | result_labels(alert["expr"], series)
    return Series("gauge", frozenset(labels), {"alertstate": frozenset({"pending", "firing"})})


def _kind(text: str) -> MetricKind:
    match text:
        case "counter" | "gauge" | "histogram":
            return text
    raise LookupError(f"no type of metric that is known here: {text}")
