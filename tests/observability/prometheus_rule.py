"""The rules of deploy/prometheus as an object of the Prometheus operator, for deploy/kubernetes: `make kubernetes`."""

from __future__ import annotations

from typing import Any

import yaml

from platolm.storage import write_atomically
from tests.observability.deployed import DEPLOY, RULE_FILES, load_yaml

RULE_OBJECT_FILE = DEPLOY / "kubernetes" / "components" / "monitoring" / "rules.yaml"
_HEAD = "# Written by `make kubernetes` from deploy/prometheus/rules: change those.\n"


def rule_object() -> str:
    """The file's text."""
    content: dict[str, Any] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "platolm", "namespace": "platolm"},
        "spec": {"groups": [group for path in RULE_FILES for group in load_yaml(path)["groups"]]},
    }
    return _HEAD + yaml.safe_dump(content, sort_keys=False, width=120)


if __name__ == "__main__":
    write_atomically(RULE_OBJECT_FILE, rule_object().encode())
