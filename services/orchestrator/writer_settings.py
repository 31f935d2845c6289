"""Settings of the dataset writer."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode, SettingsConfigDict

from services.orchestrator.redis_settings import RedisSettings
from services.orchestrator.runs.allowed import check_prefixes
from services.secret_files import SecretFileSettings


class WriterSettings(SecretFileSettings, RedisSettings):
    """The process that feeds runs and writes their datasets. Environment: `PLATOLM_WRITER_*`."""

    model_config = SettingsConfigDict(env_prefix="PLATOLM_WRITER_", extra="ignore")

    data_dir: Path = Field(Path("data"), description="where runs lie that name no other place; the API's data folder")
    allowed_outputs: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description="fsspec URLs at or below which datasets may be written; as the API's",
    )
    feed_window: int = Field(8192, ge=1, description="conversations of a run in the queue at a time")
    max_unwritten: int = Field(4096, ge=1, description="finished records that may wait before feeding stops")
    segment_age_s: float = Field(5.0, ge=0, description="age after which waiting records are written anyway")
    poll_interval_s: float = Field(0.2, gt=0)
    health_host: str = "127.0.0.1"
    health_port: int = Field(8004, description="0: none")
    log_level: str = "INFO"
    crash_at: str | None = Field(None, description="for tests: crash point and passing at which to die, NAME:N")

    @field_validator("allowed_outputs", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [url.strip() for url in value.split(",") if url.strip()]

    @field_validator("allowed_outputs")
    @classmethod
    def _comparable(cls, urls: list[str]) -> list[str]:
        check_prefixes(urls)
        return urls
