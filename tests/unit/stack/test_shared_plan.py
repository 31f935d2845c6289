"""The plan of a stack whose two sides share an engine."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from platolm.errors import InputError, StackError
from platolm.stack.local import LocalStack, stop_waves
from platolm.stack.plan import API, REDIS, RESPONDENT, SIMULATOR, WORKER, WRITER, ProcessPlan, plan
from platolm.stack.settings import LocalStackSettings
from tests.unit.stack.adapter_folders import write_adapter

ENGINE = "http://127.0.0.1:8011/v1"


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("PLATOLM_"):
            monkeypatch.delenv(name)


@pytest.fixture
def given(tmp_path: Path) -> dict[str, Any]:
    """A base and two adapters."""
    return {
        "shared_engine": True,
        "base_model": "org/base",
        "simulator_model": str(write_adapter(tmp_path / "socratic")),
        "respondent_model": str(write_adapter(tmp_path / "platolm", r=16)),
        "data_dir": tmp_path / "data",
    }


def planned(given: dict[str, Any], *, num_cores: int = 4) -> dict[str, ProcessPlan]:
    return {one.name: one for one in plan(LocalStackSettings(**given), num_cores=num_cores)}


def told(plans: dict[str, ProcessPlan], name: str) -> dict[str, str]:
    """A server's settings, by their names."""
    prefix = f"PLATOLM_{name.upper()}_"
    return {key.removeprefix(prefix).lower(): value for key, value in plans[name].env.items() if key.startswith(prefix)}


def test_the_simulators_server_starts_the_engine_of_both(given: dict[str, Any], tmp_path: Path) -> None:
    simulator = told(planned(given), SIMULATOR)
    assert simulator["model"] == "org/base"
    assert simulator["served_model_name"] == "socratic"
    assert simulator["engine_args"] == (
        "--served-model-name base --enable-lora --max-loras 2 --max-lora-rank 16 "
        f"--lora-modules socratic={tmp_path}/socratic platolm={tmp_path}/platolm"
    )
    assert "engine_url" not in simulator


def test_the_respondents_server_asks_it(given: dict[str, Any]) -> None:
    plans = planned(given)
    respondent = told(plans, RESPONDENT)
    assert (respondent["model"], respondent["served_model_name"]) == ("org/base", "platolm")
    assert respondent["engine_url"] == ENGINE
    assert not {"engine_port", "engine_args", "kv_cache_gib"} & set(respondent)
    assert plans[RESPONDENT].ports == {"--respondent-port": 8002}


def test_the_one_engine_has_what_two_had(given: dict[str, Any]) -> None:
    simulator = told(planned({**given, "kv_cache_gib": 3, "gpu_memory_utilization": 0.4}), SIMULATOR)
    assert (simulator["kv_cache_gib"], simulator["gpu_memory_utilization"]) == ("6", "0.8")
    assert told(planned({**given, "gpu_memory_utilization": 0.6}), SIMULATOR)["gpu_memory_utilization"] == "1.0"
    for cores, threads in ((1, "1"), (2, "1"), (8, "7")):
        assert told(planned(given, num_cores=cores), SIMULATOR)["engine_threads"] == threads
    assert told(planned({**given, "engine_threads": 2}), SIMULATOR)["engine_threads"] == "2"


def test_the_worker_asks_one_engine_by_two_names(given: dict[str, Any]) -> None:
    worker = told(planned({**given, "simulator_engine_port": 9011}), WORKER)
    engine = "http://127.0.0.1:9011/v1"
    assert (worker["simulator_urls"], worker["respondent_urls"]) == (engine, engine)
    assert (worker["simulator_model"], worker["respondent_model"]) == ("socratic", "platolm")


def test_the_engine_stops_after_everyone_who_asks_it(given: dict[str, Any]) -> None:
    waves = stop_waves(list(planned(given).values()))
    assert waves == [[WORKER, WRITER, API], [RESPONDENT, REDIS], [SIMULATOR]]


def test_settings_of_the_servers_know_these_names(given: dict[str, Any]) -> None:
    from services.orchestrator.settings import WorkerSettings
    from services.respondent.settings import RespondentSettings
    from services.simulator.settings import SimulatorSettings

    plans = planned(given)
    kinds: dict[str, type[BaseSettings]] = {
        SIMULATOR: SimulatorSettings,
        RESPONDENT: RespondentSettings,
        WORKER: WorkerSettings,
    }
    for name, kind in kinds.items():
        assert set(told(plans, name)) <= set(kind.model_fields)


def test_models_that_are_no_adapters(given: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no adapter folder"):
        planned({**given, "respondent_model": str(tmp_path)})
    with pytest.raises(StackError, match="--base-model"):
        planned({**given, "base_model": None})


def test_a_base_alone_says_nothing() -> None:
    with pytest.raises(ValidationError, match="--shared-engine"):
        LocalStackSettings(base_model="org/base", simulator_model="a", respondent_model="b")


def test_sides_without_a_shared_engine_are_models_of_their_own() -> None:
    plans = {one.name: one for one in plan(LocalStackSettings(simulator_model="a", respondent_model="b"), num_cores=2)}
    assert told(plans, SIMULATOR)["model"] == "a"
    assert not {"served_model_name", "engine_args"} & set(told(plans, SIMULATOR))
    assert "simulator_model" not in told(plans, WORKER)


def test_the_demo_has_adapters_of_its_own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("platolm.stack.demo.REPOSITORY", tmp_path)
    assert LocalStackSettings(shared_engine=True).simulator_model is None
    socratic = write_adapter(tmp_path / "models" / "demo" / "adapters" / "socratic")
    shared = LocalStackSettings(shared_engine=True)
    assert (shared.simulator_model, shared.respondent_model) == (str(socratic), None)
    assert LocalStackSettings().simulator_model is None, "an adapter is no model"


async def test_one_engines_adapters_stay(given: dict[str, Any]) -> None:
    stack = LocalStack(LocalStackSettings(**given))
    with pytest.raises(InputError, match="share one engine"):
        await stack.replace({"simulator": "other"})
