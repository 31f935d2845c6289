"""Settings of the orchestrator's API and workers, each with its own environment prefix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator, model_validator
from pydantic_core import PydanticCustomError
from pydantic_settings import NoDecode, SettingsConfigDict

from services.gateway.settings import check_key, split_keys
from services.orchestrator.conversations.lease import fresh_s
from services.orchestrator.redis_settings import RedisSettings
from services.orchestrator.runs.allowed import check_prefixes
from services.secret_files import SecretFileSettings
from services.tracing import TracingSettings


class ApiSettings(SecretFileSettings, RedisSettings):
    """The API. Environment: `PLATOLM_API_*`; lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="PLATOLM_API_", extra="ignore")

    host: str = "127.0.0.1"
    port: int = 8000
    data_dir: Path = Path("data")
    api_keys: SecretStr | None = Field(
        None, description="key that requests carry, or several with commas between; none: loopback only"
    )
    max_request_mib: int = Field(512, ge=1, description="largest request body, unpacked, in MiB")
    allowed_endpoints: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="URLs at or below which a spec may name engines; none: it may name none"
    )
    allowed_outputs: Annotated[list[str], NoDecode] = Field(
        default_factory=list, description="fsspec URLs at or below which a spec may put its dataset; none: it may not"
    )
    simulator_url: str = Field("http://127.0.0.1:8001/v1", description="model server that speaks as the user in talks")
    respondent_url: str = Field("http://127.0.0.1:8002/v1", description="model server that answers in talks")
    gateway_api_key: SecretStr | None = Field(None, description="key that these model servers ask for")
    max_dialogues: int = Field(64, ge=1, description="talks that models speak in at a time; one more is answered 503")
    trusted_proxies: str = Field(
        "127.0.0.1", description="addresses or networks of proxies whose X-Forwarded-* headers count; commas between"
    )
    chat_apis_file: Path | None = Field(
        None, description="file of the chat APIs that a spec may name, as the workers have it; none: it may name none"
    )
    prices_file: Path | None = Field(None, description="price table of their models, for estimates and budgets")
    crash_at: str | None = Field(None, description="for tests: crash point and passing at which to die, NAME:N")
    log_level: str = "INFO"

    @field_validator("chat_apis_file", "prices_file", mode="before")
    @classmethod
    def _empty_is_none(cls, path: object) -> object:
        return path or None

    @field_validator("simulator_url", "respondent_url")
    @classmethod
    def _is_model_server(cls, url: str) -> str:
        if not _is_http(url):
            raise ValueError(f"{url!r} is no address of a model server, such as http://host:8001/v1")
        return url.rstrip("/")

    @field_validator("gateway_api_key")
    @classmethod
    def _blank_key_is_none(cls, key: SecretStr | None) -> SecretStr | None:
        return key if key is not None and key.get_secret_value().strip() else None

    @field_validator("allowed_endpoints", "allowed_outputs", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _listed(value)

    @field_validator("allowed_endpoints", "allowed_outputs")
    @classmethod
    def _comparable(cls, urls: list[str]) -> list[str]:
        check_prefixes(urls)
        return urls

    @field_validator("api_keys")
    @classmethod
    def _real_keys(cls, keys: SecretStr | None) -> SecretStr | None:
        if keys is None or not split_keys(keys):
            return None
        for key in split_keys(keys):
            check_key(key)
        return keys


class WorkerSettings(SecretFileSettings, RedisSettings, TracingSettings):
    """A worker. Environment: `PLATOLM_WORKER_*`; lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="PLATOLM_WORKER_", extra="ignore")

    chat_apis_file: Path | None = Field(
        None, description="file of the chat APIs that runs may ask, see docs/outside-apis.md; none: no chat APIs"
    )
    prices_file: Path | None = Field(None, description="price table of their models")
    simulator_urls: Annotated[list[str], NoDecode] = Field(
        default=["http://127.0.0.1:8011/v1"],
        description="engines' base URLs; a host stands for all its addresses; none: this side is chat APIs alone",
    )
    respondent_urls: Annotated[list[str], NoDecode] = Field(default=["http://127.0.0.1:8012/v1"])
    simulator_tokenizer: str | None = Field(None, description="folder or hub name; default: the engine's model")
    respondent_tokenizer: str | None = None
    simulator_model: str | None = Field(
        None, description="its name at engines that serve several; default: the first that they serve"
    )
    respondent_model: str | None = None
    max_in_flight: int = Field(256, ge=1, description="conversations at a time")
    lease_s: float = Field(10.0, gt=0.2, description="a worker silent for so long loses its claims")
    request_timeout_s: float = Field(600.0, gt=0)
    engine_peer_timeout_s: float | None = Field(
        None,
        gt=0,
        description="an engine's host that acknowledges nothing for so long is gone; at most, and by default, half of "
        "lease_s",
    )
    engine_api_key: SecretStr | None = Field(None, description="bearer key that the engines ask for")
    hang_after_s: float = Field(
        60.0, gt=0, description="an engine with requests and without an iteration for so long is given up"
    )
    engines_patience_s: float = Field(
        30.0, ge=0, description="time without any engine of a side after which a run pauses until one answers"
    )
    refresh_s: float = Field(2.0, gt=0, description="between two looks for replicas")
    drain_timeout_s: float = Field(30.0, ge=0, description="on SIGTERM, time for the utterances in flight")
    poll_interval_s: float = Field(0.2, gt=0)
    health_host: str = "127.0.0.1"
    health_port: int = Field(8003, description="0: none")
    log_level: str = "INFO"
    crash_at: str | None = Field(None, description="for tests: crash point and passing at which to die, NAME:N")

    @model_validator(mode="after")
    def _forgets_requests_in_time(self) -> Self:
        if self.silence_s > fresh_s(self.lease_s):
            raise ValueError(
                f"engine_peer_timeout_s is more than half of lease_s ({fresh_s(self.lease_s):g}): a request that is on "
                "its way would outlive the claim that it was made under"
            )
        return self

    @property
    def silence_s(self) -> float:
        """For how long an engine's host may acknowledge nothing."""
        return fresh_s(self.lease_s) if self.engine_peer_timeout_s is None else self.engine_peer_timeout_s

    @field_validator("chat_apis_file", "prices_file", mode="before")
    @classmethod
    def _empty_is_none(cls, path: object) -> object:
        return path or None

    @field_validator("simulator_urls", "respondent_urls")
    @classmethod
    def _are_http(cls, urls: list[str], info: ValidationInfo) -> list[str]:
        if not urls and info.data.get("chat_apis_file") is None:
            raise PydanticCustomError("too_short", "name an engine, or chat APIs (PLATOLM_WORKER_CHAT_APIS_FILE)")
        for url in urls:
            if not _is_http(url):
                raise ValueError(f"{url!r} is no address of an engine, such as http://host:8000/v1")
        return urls

    @field_validator("simulator_urls", "respondent_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return _listed(value)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # no port, or no IPv6 address
        return False


def _listed(value: object) -> object:
    if not isinstance(value, str):
        return value
    return [part.strip() for part in value.split(",") if part.strip()]
