"""The proxy's configuration: accepted by HAProxy, and in step with the model servers."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings
from tests.unit.compose.stack_files import REPOSITORY, seconds, services

PATH = REPOSITORY / "deploy" / "haproxy" / "haproxy.cfg"
SECTION = re.compile(r"^(\w+)(?: (\w+))?$")


def sections() -> dict[str, list[str]]:
    """The lines of each section, by its kind and name; comments left out."""
    found: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in PATH.read_text(encoding="utf-8").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        if not line.startswith(" "):
            assert SECTION.match(line), line
            lines = found.setdefault(line, [])
        else:
            lines.append(line.strip())
    return found


def value(section: str, name: str) -> str:
    [line] = [line for line in sections()[section] if line.startswith(f"{name} ")]
    return line.removeprefix(f"{name} ")


def test_haproxy_accepts_it() -> None:
    haproxy = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if haproxy is None:
        pytest.skip("HAProxy is not installed")
    result = subprocess.run([haproxy, "-c", "-f", str(PATH)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "WARNING" not in result.stderr


def test_answers_are_not_cut_before_the_model_servers_give_up() -> None:
    for kind in (SimulatorSettings, RespondentSettings):
        longest_s = kind(model="org/model").request_timeout_s
        for side in ("client", "server"):
            assert seconds(value("defaults", f"timeout {side}")) > longest_s


def test_stopping_takes_less_than_its_grace() -> None:
    proxy = services()["proxy"]
    assert proxy["stop_signal"] == "SIGUSR1"
    assert seconds(value("global", "hard-stop-after")) + 5 <= seconds(proxy["stop_grace_period"])


@pytest.mark.parametrize(
    ("side", "port"), [("simulator", SimulatorSettings.model_fields["port"].default), ("respondent", 8002)]
)
def test_each_side_has_its_port_and_its_replicas(side: str, port: int) -> None:
    assert value(f"frontend {side}", "bind") == f":{port}"
    assert value(f"frontend {side}", "default_backend") == f"{side}s"
    template = value(f"backend {side}s", "server-template").split()
    host = f"{side.upper()}_HOST"
    assert template[2] == f'"${{{host}}}:{port}"'
    assert f"presetenv {host} {side}" in sections()["global"], "as Compose calls it, where nobody says otherwise"
    assert "check" in template
    assert template[template.index("resolvers") + 1] == "names"
    assert value(f"backend {side}s", "http-check send") == "meth GET uri /readyz"
    assert value(f"backend {side}s", "stick on") == "req.hdr(X-Session-Id)"


def test_both_sides_are_alike() -> None:
    found = sections()
    for kind, plural in (("frontend", ""), ("backend", "s")):
        one, other = (found[f"{kind} {side}{plural}"] for side in ("simulator", "respondent"))
        swapped = [
            line.replace("respondent", "simulator").replace("RESPONDENT", "SIMULATOR").replace("8002", "8001")
            for line in other
        ]
        assert swapped == one


def test_names_are_asked_of_the_containers_own_name_servers() -> None:
    assert "parse-resolv-conf" in sections()["resolvers names"]
    assert not [line for line in sections()["resolvers names"] if line.startswith("nameserver")]


def test_only_the_open_api_passes() -> None:
    for side in ("simulator", "respondent"):
        lines = sections()[f"frontend {side}"]
        assert [line for line in lines if line.startswith("acl ")] == [
            "acl passes path_beg /v1/",
            "acl passes path /generate /healthz",
        ]
        [refusal] = [line for line in lines if line.startswith("http-request ")]
        assert refusal.startswith("http-request return status 404 ")
        assert refusal.endswith(" unless passes")
