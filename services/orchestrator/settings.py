"""Settings of the orchestrator's two processes, each with its own environment prefix."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

DEFAULT_REDIS_URL = "redis://127.0.0.1:6390/0"


class ApiSettings(BaseSettings):
    """The API, which also feeds the queue and writes the dataset. Environment: `PLATOLM_API_*`."""

    model_config = SettingsConfigDict(env_prefix="PLATOLM_API_", extra="ignore")

    host: str = "127.0.0.1"
    port: int = 8000
    redis_url: str = DEFAULT_REDIS_URL
    data_dir: Path = Path("data")
    feed_window: int = Field(1024, ge=1, description="conversations of a run in the queue at a time")
    max_unwritten: int = Field(2048, ge=1, description="finished records that may wait before feeding stops")
    segment_records: int = Field(512, ge=1, description="records after which a segment is written")
    segment_age_s: float = Field(5.0, ge=0, description="age after which waiting records are written anyway")
    poll_interval_s: float = Field(0.25, gt=0)
    log_level: str = "INFO"


class WorkerSettings(BaseSettings):
    """A worker. Environment: `PLATOLM_WORKER_*`; lists are separated by commas."""

    model_config = SettingsConfigDict(env_prefix="PLATOLM_WORKER_", extra="ignore")

    redis_url: str = DEFAULT_REDIS_URL
    simulator_urls: Annotated[list[str], NoDecode] = Field(
        default=["http://127.0.0.1:8011/v1"], description="engines' base URLs; a host stands for all its addresses"
    )
    respondent_urls: Annotated[list[str], NoDecode] = Field(default=["http://127.0.0.1:8012/v1"])
    simulator_tokenizer: str | None = Field(None, description="folder or hub name; default: the engine's model")
    respondent_tokenizer: str | None = None
    max_in_flight: int = Field(256, ge=1, description="conversations at a time")
    lease_s: float = Field(10.0, gt=0.2, description="a worker silent for so long loses its claims")
    request_timeout_s: float = Field(600.0, gt=0)
    retry_for_s: float = Field(600.0, ge=0, description="how long one utterance is tried again while engines fail")
    drain_timeout_s: float = Field(30.0, ge=0, description="on SIGTERM, time for the utterances in flight")
    poll_interval_s: float = Field(0.2, gt=0)
    health_host: str = "127.0.0.1"
    health_port: int = Field(8003, description="0: none")
    log_level: str = "INFO"

    @field_validator("simulator_urls", "respondent_urls", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [url.strip() for url in value.split(",") if url.strip()]
