"""Prometheus's configuration and rules: what is scraped, that rules ask for what there is, when alerts come."""

from __future__ import annotations

import functools
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from services.orchestrator.secrets import API_KEY
from services.orchestrator.settings import ApiSettings, WorkerSettings
from services.orchestrator.writer_settings import WriterSettings
from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings
from tests.observability.catalogue import every_series
from tests.observability.deployed import (
    CONFIG_FILE,
    DEPLOY,
    PROMETHEUS,
    RULE_FILES,
    RULE_TEST_FILES,
    Asked,
    alerts,
    load_yaml,
    rule_expressions,
    rules,
)
from tests.observability.promql import result_labels

COMPOSE_FILE = DEPLOY.parent / "docker-compose.yml"
GUIDE = DEPLOY.parent / "docs" / "observability.md"


def promtool(*arguments: str | Path) -> None:
    """Run it and show what it found wrong; skips where there is none."""
    binary = shutil.which("promtool")
    if binary is None:
        pytest.skip("no promtool on this system: Debian's package prometheus has it")
    done = subprocess.run([binary, *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def default_port(settings: type[Any], field: str = "port") -> int:
    port: int = settings.model_fields[field].default
    return port


def test_each_service_is_scraped_where_it_listens() -> None:
    scraped = {
        (job["job_name"], name, found["port"])
        for job in load_yaml(CONFIG_FILE)["scrape_configs"]
        for found in job["dns_sd_configs"]
        for name in found["names"]
    }
    assert scraped == {
        ("api", "api", default_port(ApiSettings)),
        ("worker", "worker", default_port(WorkerSettings, "health_port")),
        ("writer", "writer", default_port(WriterSettings, "health_port")),
        ("gateway", "simulator", default_port(SimulatorSettings)),
        ("gateway", "respondent", default_port(RespondentSettings)),
        ("engine", "simulator", default_port(SimulatorSettings, "engine_port")),
        ("engine", "respondent", default_port(RespondentSettings, "engine_port")),
    }


def test_every_replica_is_found() -> None:
    kinds = {found["type"] for job in load_yaml(CONFIG_FILE)["scrape_configs"] for found in job["dns_sd_configs"]}
    assert kinds == {"A"}


def test_an_engine_is_called_what_workers_call_it() -> None:
    [engine] = [job for job in load_yaml(CONFIG_FILE)["scrape_configs"] if job["job_name"] == "engine"]
    [named] = [step for step in engine["relabel_configs"] if step["target_label"] == "replica"]
    address = f"simulator:{default_port(SimulatorSettings, 'engine_port')}"
    assert named["replacement"].replace("$1", address) == "http://simulator:8011/v1"


def test_only_the_api_asks_for_a_key() -> None:
    guarded = {
        job["job_name"]: job["authorization"]
        for job in load_yaml(CONFIG_FILE)["scrape_configs"]
        if "authorization" in job
    }
    assert guarded == {"api": {"credentials_file": f"/secrets/{API_KEY}"}}


def test_compose_puts_the_files_where_prometheus_looks() -> None:
    service = load_yaml(COMPOSE_FILE)["services"]["prometheus"]
    assert f"--config.file=/etc/prometheus/{CONFIG_FILE.name}" in service["command"]
    assert {"./deploy/prometheus:/etc/prometheus:ro", "secrets:/secrets:ro"} <= set(service["volumes"])


def test_every_rule_file_is_loaded() -> None:
    [pattern] = load_yaml(CONFIG_FILE)["rule_files"]
    assert sorted(PROMETHEUS.glob(pattern)) == RULE_FILES
    assert {path.name for path in RULE_TEST_FILES} == {path.name for path in RULE_FILES}


@pytest.mark.parametrize("asked", rule_expressions(), ids=lambda asked: asked.place)
def test_a_rule_asks_for_what_there_is(asked: Asked) -> None:
    assert asked.named <= result_labels(asked.text, every_series())


def test_each_alert_says_how_bad_it_is_and_what_is_wrong() -> None:
    found = alerts()
    assert len({alert["alert"] for alert in found}) == len(found)
    for alert in found:
        assert alert["labels"] in ({"severity": "warning"}, {"severity": "critical"}), alert["alert"]
        assert list(alert["annotations"]) == ["summary"], alert["alert"]
        assert alert["annotations"]["summary"].strip(), alert["alert"]


def test_feeding_has_not_stopped_yet_when_records_pile_up() -> None:
    [alert] = [alert for alert in alerts() if alert["alert"] == "RecordsPilingUp"]
    limit = float(alert["expr"].rpartition(">")[2])
    feeding_stops = WriterSettings.model_fields["max_unwritten"].default
    assert feeding_stops / 2 < limit < feeding_stops, "half of it is one segment: that is as it should be"


def test_prometheus_reads_the_configuration() -> None:
    promtool("check", "config", "--syntax-only", CONFIG_FILE)  # the key's file is in the container only


def test_the_rules_are_without_lint() -> None:
    promtool("check", "rules", "--lint=all", "--lint-fatal", *RULE_FILES)


@pytest.mark.parametrize("path", RULE_TEST_FILES, ids=lambda path: path.stem)
def test_alerts_come_when_they_should(path: Path) -> None:
    promtool("test", "rules", path)


@functools.cache
def expectations() -> dict[str, list[int]]:
    """By alert, how many of it each check of the rules' tests expects."""
    found: dict[str, list[int]] = {}
    for path in RULE_TEST_FILES:
        for case in load_yaml(path)["tests"]:
            for check in case.get("alert_rule_test", []):
                found.setdefault(check["alertname"], []).append(len(check["exp_alerts"]))
    return found


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: alert["alert"])
def test_each_alert_is_seen_to_come_and_to_stay_away(alert: dict[str, Any]) -> None:
    seen = expectations().get(alert["alert"], [])
    assert any(seen), "no test in which it comes"
    assert not all(seen), "no test in which it stays away"


def test_recorded_series_are_tested() -> None:
    tested = {
        check["expr"]
        for path in RULE_TEST_FILES
        for case in load_yaml(path)["tests"]
        for check in case.get("promql_expr_test", [])
    }
    assert tested == {rule["record"] for rule in rules() if "record" in rule}


def test_the_guide_says_what_to_do_about_each_alert() -> None:
    section = GUIDE.read_text(encoding="utf-8").partition("\n## Alerts\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in section.splitlines() if "| `" in line]
    said = sorted((row[0].strip("`"), row[1]) for row in rows)
    assert said == sorted((alert["alert"], alert["labels"]["severity"]) for alert in alerts())
    assert all(row[2] and row[3] for row in rows)
