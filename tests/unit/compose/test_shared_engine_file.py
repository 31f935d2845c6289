"""docker-compose.shared.yml has the stack that `platolm up --shared-engine` has."""

from __future__ import annotations

import shlex

import pytest

from services.gateway.engine import EngineBuild, engine_argv
from services.gateway.settings import GatewaySettings
from services.orchestrator.settings import WorkerSettings
from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings
from tests.unit.compose.stack_files import services

SHARED = services("docker-compose.shared.yml")


def told(name: str, prefix: str) -> dict[str, str]:
    """The environment of a service with the override, by the settings' names, as Compose merges it."""
    merged = services()[name]["environment"] | SHARED[name]["environment"]
    return {key.removeprefix(prefix).lower(): value for key, value in merged.items() if key.startswith(prefix)}


def settings_of(kind: type[GatewaySettings], name: str, monkeypatch: pytest.MonkeyPatch) -> GatewaySettings:
    for key, value in (services()[name]["environment"] | SHARED[name]["environment"]).items():
        if key != "PLATOLM_SECRETS_DIR":
            monkeypatch.setenv(key, "" if value is None else str(value))  # texts, to Compose
    return kind()


def test_one_engine_serves_the_base_and_both_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of(SimulatorSettings, "simulator", monkeypatch)
    assert settings.engine_url is None
    argv = engine_argv(settings, EngineBuild.CPU)
    assert argv[argv.index("--model") + 1] == "/models/demo/base"
    names = [argv[at + 1] for at, word in enumerate(argv) if word == "--served-model-name"]
    assert names[-1] == "base", "the last one counts"
    modules = argv[argv.index("--lora-modules") + 1 :]
    assert modules == ["socratic=/models/demo/adapters/socratic", "platolm=/models/demo/adapters/platolm"]
    assert argv[argv.index("--max-loras") + 1] == "2"
    assert argv[argv.index("--max-lora-rank") + 1] == "8"
    assert "--enable-lora" in argv


def test_further_flags_come_behind() -> None:
    words = shlex.split(SHARED["simulator"]["environment"]["PLATOLM_SIMULATOR_ENGINE_ARGS"] + " --quantization fp8")
    assert words[-3:] == ["platolm=/models/demo/adapters/platolm", "--quantization", "fp8"]


def test_the_gateways_are_called_as_the_adapters(monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = settings_of(SimulatorSettings, "simulator", monkeypatch)
    respondent = settings_of(RespondentSettings, "respondent", monkeypatch)
    assert (simulator.served_model_name, respondent.served_model_name) == ("socratic", "platolm")
    assert respondent.model == simulator.model == "/models/demo/base"
    assert respondent.engine_base_url == f"http://simulator:{simulator.engine_port}"
    assert SHARED["respondent"]["depends_on"] == {"simulator": {"condition": "service_healthy"}}


def test_the_worker_asks_one_engine_by_two_names() -> None:
    worker = WorkerSettings(**told("worker", "PLATOLM_WORKER_"))  # type: ignore[arg-type]
    assert worker.simulator_urls == worker.respondent_urls == ["http://simulator:8011/v1"]
    assert (worker.simulator_model, worker.respondent_model) == ("socratic", "platolm")
