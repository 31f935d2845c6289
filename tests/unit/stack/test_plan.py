from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from pydantic_settings import BaseSettings

from platolm.errors import StackError
from platolm.stack.local import stop_waves
from platolm.stack.plan import API, REDIS, RESPONDENT, SIMULATOR, WORKER, WRITER, ProcessPlan, plan
from platolm.stack.settings import LocalStackSettings


@pytest.fixture(autouse=True)
def _no_settings_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("PLATOLM_"):
            monkeypatch.delenv(name)


def planned(**fields: Any) -> dict[str, ProcessPlan]:
    defaults: dict[str, Any] = {"simulator_model": "org/socratic", "respondent_model": "org/platolm"}
    settings = LocalStackSettings(**{**defaults, "data_dir": Path("/d"), **fields})
    return {one.name: one for one in plan(settings, num_cores=2)}


def test_order_and_dependencies() -> None:
    plans = planned()
    assert list(plans) == [REDIS, SIMULATOR, RESPONDENT, API, WRITER, WORKER]
    assert plans[API].after == (REDIS,)
    assert plans[WRITER].after == (REDIS,)
    assert plans[WORKER].after == (REDIS, SIMULATOR, RESPONDENT)
    assert [plans[name].max_restarts for name in plans] == [0, 0, 0, 3, 3, 3]


def test_stopping_frees_dependents_first() -> None:
    assert stop_waves(list(planned().values())) == [[WORKER, WRITER, API], [RESPONDENT, SIMULATOR, REDIS]]


def test_redis_command() -> None:
    redis = planned(redis_port=7001)[REDIS]
    words = " ".join(redis.argv[1:])
    assert "--bind 127.0.0.1 --port 7001" in words
    assert "--appendonly yes --appendfsync everysec" in words
    assert redis.argv[redis.argv.index("--save") + 1] == ""
    assert "--dir /d/redis" in words
    assert redis.ready_url == "redis://127.0.0.1:7001"


def test_model_servers() -> None:
    plans = planned(simulator_port=9001, simulator_engine_port=9011, kv_cache_gib=4)
    env = plans[SIMULATOR].env
    assert env["PLATOLM_SIMULATOR_MODEL"] == "org/socratic"
    assert env["PLATOLM_SIMULATOR_PORT"] == "9001"
    assert env["PLATOLM_SIMULATOR_ENGINE_PORT"] == "9011"
    assert env["PLATOLM_SIMULATOR_KV_CACHE_GIB"] == "4"
    assert env["PLATOLM_SIMULATOR_ENGINE_THREADS"] == "1"
    assert env["PLATOLM_SIMULATOR_ENGINE_LOG"] == "/d/logs/simulator-engine.log"
    assert plans[SIMULATOR].argv[1:] == ("-m", "services.simulator")
    assert plans[SIMULATOR].ready_url == "http://127.0.0.1:9001/readyz"
    assert plans[RESPONDENT].env["PLATOLM_RESPONDENT_MODEL"] == "org/platolm"


def test_settings_of_the_servers_know_these_names() -> None:
    from services.orchestrator.settings import ApiSettings, WorkerSettings
    from services.orchestrator.writer_settings import WriterSettings
    from services.respondent.settings import RespondentSettings
    from services.simulator.settings import SimulatorSettings

    kinds: tuple[type[BaseSettings], ...] = (
        SimulatorSettings,
        RespondentSettings,
        ApiSettings,
        WriterSettings,
        WorkerSettings,
    )
    for one, kind in zip([SIMULATOR, RESPONDENT, API, WRITER, WORKER], kinds, strict=True):
        prefix = str(kind.model_config.get("env_prefix"))
        names = [name for name in planned()[one].env if name.startswith("PLATOLM_")]
        assert names
        for name in names:
            assert name.removeprefix(prefix).lower() in kind.model_fields


def test_orchestrator() -> None:
    plans = planned(redis_port=7001, worker_health_port=7003, writer_health_port=7004)
    assert plans[API].env["PLATOLM_API_REDIS_URL"] == "redis://127.0.0.1:7001/0"
    assert plans[API].env["PLATOLM_API_DATA_DIR"] == "/d"
    assert plans[API].env["PLATOLM_API_SIMULATOR_URL"] == "http://127.0.0.1:8001/v1"
    assert plans[API].env["PLATOLM_API_RESPONDENT_URL"] == "http://127.0.0.1:8002/v1"
    assert plans[WRITER].env["PLATOLM_WRITER_REDIS_URL"] == "redis://127.0.0.1:7001/0"
    assert plans[WRITER].env["PLATOLM_WRITER_DATA_DIR"] == "/d"
    assert plans[WRITER].ready_url == "http://127.0.0.1:7004/readyz"
    worker = plans[WORKER].env
    assert worker["PLATOLM_WORKER_SIMULATOR_URLS"] == "http://127.0.0.1:8011/v1"
    assert worker["PLATOLM_WORKER_RESPONDENT_URLS"] == "http://127.0.0.1:8012/v1"
    assert plans[WORKER].ready_url == "http://127.0.0.1:7003/readyz"


def test_threads() -> None:
    settings = LocalStackSettings(simulator_model="a", respondent_model="b")
    for cores, threads in ((1, "1"), (2, "1"), (4, "1"), (8, "3"), (17, "8")):
        assert plan(settings, num_cores=cores)[1].env["PLATOLM_SIMULATOR_ENGINE_THREADS"] == threads


def test_every_port_names_its_flag() -> None:
    ports = {flag: port for one in planned().values() for flag, port in one.ports.items()}
    assert ports == {
        "--redis-port": 6390,
        "--simulator-port": 8001,
        "--simulator-engine-port": 8011,
        "--respondent-port": 8002,
        "--respondent-engine-port": 8012,
        "--api-port": 8000,
        "--worker-health-port": 8003,
        "--writer-health-port": 8004,
    }


def test_a_missing_model_names_its_flag() -> None:
    with pytest.raises(StackError, match="--respondent-model"):
        planned(respondent_model=None)


def test_one_port_twice() -> None:
    with pytest.raises(ValidationError, match="8001"):
        LocalStackSettings(api_port=8001)


def test_an_engine_elsewhere_is_asked_by_gateway_and_worker_and_not_started(tmp_path: Path) -> None:
    settings = LocalStackSettings(data_dir=tmp_path, respondent_engine_url="https://gpu.example/llm/v1/")
    by_name = {process.name: process for process in plan(settings, num_cores=4)}
    respondent = by_name["respondent"]
    assert respondent.env["PLATOLM_RESPONDENT_ENGINE_URL"] == "https://gpu.example/llm/v1"
    assert "PLATOLM_RESPONDENT_ENGINE_PORT" not in respondent.env
    assert "--respondent-engine-port" not in respondent.ports
    assert by_name["worker"].env["PLATOLM_WORKER_RESPONDENT_URLS"] == "https://gpu.example/llm/v1"
    assert "PLATOLM_SIMULATOR_ENGINE_URL" not in by_name["simulator"].env


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"respondent_engine_url": "gpu-1:8000"}, "begins with http"),
        (
            {"simulator_engine_url": "http://gpu-1:8000", "shared_engine": True},
            "--shared-engine starts one engine here",
        ),
    ],
)
def test_an_engine_url_that_cannot_be_meant_is_refused(given: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        LocalStackSettings.model_validate(given)


def test_a_redis_of_ones_own_is_not_started(tmp_path: Path) -> None:
    ca = tmp_path / "ca.pem"
    plans = planned(redis_url="rediss://redis.example:6379/0", redis_password="secret", redis_ca_file=ca)
    assert list(plans) == [SIMULATOR, RESPONDENT, API, WRITER, WORKER]
    assert (plans[API].after, plans[WRITER].after, plans[WORKER].after) == ((), (), (SIMULATOR, RESPONDENT))
    for name in (API, WRITER, WORKER):
        told = {key: value for key, value in plans[name].env.items() if "_REDIS_" in key}
        prefix = f"PLATOLM_{name.upper()}_REDIS"
        assert told == {
            f"{prefix}_URL": "rediss://redis.example:6379/0",
            f"{prefix}_PASSWORD": "secret",
            f"{prefix}_CA_FILE": str(ca),
        }
    with pytest.raises(ValidationError, match="--redis-url"):
        planned(redis_password="secret")
