"""A real Prometheus with the configuration of `deploy/`, pointed at processes of a test."""

from __future__ import annotations

import math
import shutil
import signal
import subprocess
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from tests.observability.deployed import CONFIG_FILE, RULE_FILES, Asked, load_yaml, plain
from tests.redis_server import free_port

SCRAPE_INTERVAL_S = 1
RATE_INTERVAL = "10s"
START_TIMEOUT_S = 30.0
DATA_TIMEOUT_S = 60.0

Targets = Mapping[str, Mapping[str, Sequence[str]]]
"""Addresses (host:port) by scrape job and by the name that would resolve to them."""


@dataclass(frozen=True)
class Sample:
    labels: Mapping[str, str]
    value: float


@dataclass(frozen=True)
class PrometheusServer:
    """A running server, as its starter sees it."""

    url: str

    def query(self, expression: str) -> list[Sample]:
        """What an expression gives now.

        Raises:
            httpx.HTTPStatusError: Prometheus refuses the expression.
        """
        result = self._get("/api/v1/query", query=expression)["result"]
        return [Sample(found["metric"], float(found["value"][1])) for found in result]

    def targets_up(self) -> dict[str, int]:
        """How many targets answer, by scrape job."""
        return {str(sample.labels["job"]): int(sample.value) for sample in self.query("sum by (job) (up)")}

    def rule_health(self) -> dict[str, str]:
        """`ok`, or what is wrong, by rule; rules that were not evaluated yet are `unknown`."""
        groups = self._get("/api/v1/rules")["groups"]
        return {
            rule["name"]: rule["health"] if rule["health"] != "err" else rule["lastError"]
            for group in groups
            for rule in group["rules"]
        }

    def wait_for_numbers(self, asked: Iterable[Asked]) -> None:
        """Until each expression gives a number, dashboards' choices standing at "All"."""
        silent = list(asked)
        deadline = time.monotonic() + DATA_TIMEOUT_S
        while silent := [one for one in silent if not self._has_numbers(one)]:
            assert time.monotonic() < deadline, [one.place for one in silent]
            time.sleep(0.3)

    def _has_numbers(self, asked: Asked) -> bool:
        samples = self.query(plain(asked.text, rate_interval=RATE_INTERVAL))
        assert all(asked.named <= sample.labels.keys() for sample in samples), (asked, samples)
        return any(not math.isnan(sample.value) for sample in samples)

    def _get(self, path: str, **parameters: str) -> dict[str, Any]:
        answer = httpx.get(f"{self.url}{path}", params=parameters, timeout=30).raise_for_status().json()
        data: dict[str, Any] = answer["data"]
        return data


@contextmanager
def prometheus(folder: Path, targets: Targets, *, api_key: str = "none") -> Iterator[PrometheusServer]:
    """Run while entered, its data under `folder`; skips where there is no Prometheus."""
    binary = shutil.which("prometheus")
    if binary is None:
        pytest.skip("no prometheus on this system: Debian's package prometheus has it")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "api_key").write_text(api_key, encoding="ascii")
    config = _config(targets, key_file=folder / "api_key")
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    address = f"127.0.0.1:{free_port()}"
    argv = [binary, f"--config.file={folder / 'prometheus.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen([*argv, f"--web.listen-address={address}"], cwd=folder, stdout=log, stderr=log)
    try:
        _wait_ready(process, f"http://{address}", folder / "prometheus.log")
        yield PrometheusServer(f"http://{address}")
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(30)


def _config(targets: Targets, *, key_file: Path) -> dict[str, Any]:
    """The deployed configuration, with addresses where names would be looked up, and more haste."""
    config = load_yaml(CONFIG_FILE)
    interval = f"{SCRAPE_INTERVAL_S}s"
    config["global"] |= {"scrape_interval": interval, "scrape_timeout": interval, "evaluation_interval": interval}
    config["rule_files"] = [str(path) for path in RULE_FILES]
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        if "authorization" in job:
            job["authorization"]["credentials_file"] = str(key_file)
        job["static_configs"] = [
            {"targets": list(addresses), "labels": {"__meta_dns_name": name}}
            for name, addresses in targets.get(job["job_name"], {}).items()
        ]
    return config


def _wait_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> None:
    deadline = time.monotonic() + START_TIMEOUT_S
    while not _is_ready(url):
        assert process.poll() is None, log.read_text()[-3000:]
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.05)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/-/ready", timeout=5).status_code == 200
    except httpx.TransportError:
        return False
