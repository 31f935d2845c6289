"""What `deploy/` holds for Prometheus and Grafana: scrape jobs, rules, dashboards and the expressions in them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
PROMETHEUS = DEPLOY / "prometheus"
GRAFANA = DEPLOY / "grafana"
CONFIG_FILE = PROMETHEUS / "prometheus.yml"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
RULE_TEST_FILES = sorted((PROMETHEUS / "tests").glob("*.yml"))
DASHBOARD_FILES = sorted((GRAFANA / "dashboards").glob("*.json"))

_BUILT_IN = {"$__rate_interval": "1m", "$__range": "1h"}
_VARIABLE = re.compile(r"\$(\w+)")
_LABEL_VALUES = re.compile(r"label_values\((.+), (\w+)\)")
_LEGEND_LABEL = re.compile(r"{{(\w+)}}")
_ANNOTATION_LABEL = re.compile(r"\$labels\.(\w+)")

Json = dict[str, Any]


@dataclass(frozen=True)
class Asked:
    """An expression, where it stands, and the labels that the text beside it names (a legend, a summary)."""

    place: str
    text: str
    named: frozenset[str]


def load_yaml(path: Path) -> Json:
    loaded: Json = yaml.safe_load(path.read_text(encoding="utf-8"))
    return loaded


def rules() -> list[Json]:
    """Recording rules and alerts of every file, in the order in which they are evaluated."""
    return [rule for path in RULE_FILES for group in load_yaml(path)["groups"] for rule in group["rules"]]


def alerts() -> list[Json]:
    return [rule for rule in rules() if "alert" in rule]


def rule_expressions() -> list[Asked]:
    return [
        Asked(
            f"rule {rule.get('alert') or rule['record']}",
            rule["expr"],
            frozenset(_ANNOTATION_LABEL.findall(json.dumps(rule.get("annotations", {})))),
        )
        for rule in rules()
    ]


def dashboard(path: Path) -> Json:
    loaded: Json = json.loads(path.read_text(encoding="utf-8"))
    return loaded


def panels(board: Json) -> Iterator[Json]:
    """Every panel, rows and what is folded into them too."""
    for panel in board["panels"]:
        yield panel
        yield from panel.get("panels", [])


def plain(text: str, **built_in: str) -> str:
    """An expression as Prometheus takes it: every choice of the dashboard stands at "All".

    `rate_interval` and `range` replace Grafana's own variables.
    """
    for name, value in (_BUILT_IN | {f"$__{name}": value for name, value in built_in.items()}).items():
        text = text.replace(name, value)
    return _VARIABLE.sub(".*", text)


def dashboard_expressions(path: Path) -> list[Asked]:
    """What the panels ask, as it stands in the file."""
    board = dashboard(path)
    return [
        Asked(
            f"{path.stem}: {panel['title']}, {target['refId']}",
            target["expr"],
            frozenset(_LEGEND_LABEL.findall(target["legendFormat"])),
        )
        for panel in panels(board)
        for target in panel.get("targets", [])
    ]


def variable_expressions(path: Path) -> list[Asked]:
    """What the dashboard's choices are made from; the label that is offered counts as named."""
    found = []
    for variable in dashboard(path)["templating"]["list"]:
        match = _LABEL_VALUES.fullmatch(variable["query"]["query"])
        assert match is not None, f"{path.stem}: {variable['name']} is no label_values(…)"
        found.append(Asked(f"{path.stem}: ${variable['name']}", match[1], frozenset({match[2]})))
    return found


def variables_used(path: Path) -> set[str]:
    """Names of the choices that panels and other choices refer to, Grafana's own aside."""
    texts = [asked.text for asked in (*dashboard_expressions(path), *variable_expressions(path))]
    return {name for text in texts for name in _VARIABLE.findall(text) if not name.startswith("__")}
