"""Settings of a whole stack on one machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from platolm.stack.demo import demo_adapter, demo_model

HOST = "127.0.0.1"
PORT_FIELDS = (
    "redis_port",
    "simulator_port",
    "simulator_engine_port",
    "respondent_port",
    "respondent_engine_port",
    "api_port",
    "worker_health_port",
    "writer_health_port",
)
REDIS_FIELDS = (
    "redis_url", "redis_username", "redis_password", "redis_ca_file", "redis_cert_file", "redis_key_file",
)  # fmt: skip
"""Settings of a Redis that runs already, which the orchestrator's processes have under the same names."""


def _demo_side(name: str) -> Callable[[dict[str, Any]], str | None]:
    """A side's model in the demo: its own, or its adapter where both sides share an engine."""
    return lambda given: demo_adapter(name) if given.get("shared_engine") else demo_model(name)


class LocalStackSettings(BaseSettings):
    """Ports, models and folders of a stack whose processes all listen on loopback. Environment: `PLATOLM_UP_*`."""

    model_config = SettingsConfigDict(env_prefix="PLATOLM_UP_", extra="forbid", frozen=True)

    api_port: int = Field(8000, ge=1, le=65535, description="the orchestrator's API and dashboard")
    simulator_port: int = Field(8001, ge=1, le=65535, description="the simulator's OpenAI-compatible server")
    respondent_port: int = Field(8002, ge=1, le=65535, description="the respondent's OpenAI-compatible server")
    worker_health_port: int = Field(8003, ge=1, le=65535, description="the worker's health and metrics")
    writer_health_port: int = Field(8004, ge=1, le=65535, description="the dataset writer's health and metrics")
    simulator_engine_port: int = Field(8011, ge=1, le=65535, description="the simulator's inner engine")
    respondent_engine_port: int = Field(8012, ge=1, le=65535, description="the respondent's inner engine")
    redis_port: int = Field(6390, ge=1, le=65535, description="the embedded Redis")
    redis_url: str | None = Field(
        None, description="a Redis that runs already (rediss:// for TLS) instead of the embedded one"
    )
    redis_username: str | None = Field(None, description="the user there; default: Redis' default user")
    redis_password: SecretStr | None = Field(None, description="its password, where redis_url holds none")
    redis_ca_file: Path | None = Field(None, description="with TLS: certificates of who may sign that Redis' own")
    redis_cert_file: Path | None = Field(None, description="with TLS: the certificate to show to Redis, where it asks")
    redis_key_file: Path | None = Field(None, description="the key of redis_cert_file")
    shared_engine: bool = Field(
        False, description="one engine for both sides: the models are LoRA adapters (folders) of base_model"
    )
    base_model: str | None = Field(
        default_factory=lambda: demo_model("base"),
        description="what the adapters of a shared engine were trained on; default: the demo's base",
    )
    simulator_model: str | None = Field(
        default_factory=_demo_side("socratic"), description="model folder or hub name; default: the demo model"
    )
    respondent_model: str | None = Field(
        default_factory=_demo_side("platolm"), description="model folder or hub name; default: the demo model"
    )
    simulator_engine_url: str | None = Field(
        None, description="the simulator's engine is this one (http://host:8000/v1) instead of one started here"
    )
    respondent_engine_url: str | None = Field(None, description="the respondent's, likewise")
    data_dir: Path = Field(Path("data"), description="runs, datasets and Redis's files")
    log_dir: Path | None = Field(None, description="the processes' logs; default: logs in the data folder")
    kv_cache_gib: int = Field(
        1, ge=1, description="KV cache of each side in GiB, without a GPU; a shared engine has both sides'"
    )
    engine_threads: int | None = Field(
        None, ge=1, description="threads of each engine without a GPU; default: an equal part of all cores but one"
    )
    gpu_memory_utilization: float = Field(
        0.45, gt=0, le=1, description="share of the GPU's memory for each side: the two live on one GPU here"
    )
    startup_timeout_s: float = Field(600.0, gt=0, description="time for everything to come up")
    drain_timeout_s: float = Field(10.0, ge=0, description="time for what is in flight when stopping")
    max_restarts: int = Field(3, ge=0, description="restarts of the API, of the writer and of the worker when they die")

    @model_validator(mode="after")
    def _distinct_ports(self) -> Self:
        uses = Counter(getattr(self, name) for name in PORT_FIELDS)
        twice = sorted(port for port, count in uses.items() if count > 1)
        if twice:
            raise ValueError(f"two processes were given port {', '.join(map(str, twice))}")
        return self

    @model_validator(mode="after")
    def _base_is_of_use(self) -> Self:
        if "base_model" in self.model_fields_set and not self.shared_engine:
            raise ValueError("--base-model is the base of the adapters of --shared-engine: give both or neither")
        return self

    @model_validator(mode="after")
    def _engine_is_shared_or_elsewhere(self) -> Self:
        if self.shared_engine and (self.simulator_engine_url or self.respondent_engine_url):
            raise ValueError("--shared-engine starts one engine here: leave the engines' URLs away, or it")
        return self

    @field_validator("simulator_engine_url", "respondent_engine_url")
    @classmethod
    def _engine_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("an engine URL begins with http:// or https://")
        return url.rstrip("/").removesuffix("/v1") + "/v1" if url else None

    @model_validator(mode="after")
    def _redis_is_somewhere(self) -> Self:
        told = sorted(name for name in REDIS_FIELDS[1:] if getattr(self, name) is not None)
        if told and self.redis_url is None:
            raise ValueError(f"{told[0]} is for a Redis of your own: name it with {flag_of('redis_url')}")
        return self

    @property
    def logs(self) -> Path:
        return (self.log_dir or self.data_dir / "logs").resolve()


def flag_of(field_name: str) -> str:
    """The flag of `platolm up` that sets a field."""
    return "--" + field_name.replace("_", "-")
