"""Where Redis is and how it is spoken to: one group of settings, which API, writer and worker have alike."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode

from platolm.keepalive import PEER_TIMEOUT_S

DEFAULT_REDIS_URL = "redis://127.0.0.1:6390/0"
SENTINEL_PORT = 26379
TLS_SCHEME = "rediss"

_SCHEMES = ("redis", TLS_SCHEME, "unix")


class RedisSettings(BaseSettings):
    """What a process is told of Redis; its own settings build on these, under its own environment prefix.

    Validators carry `_redis` in their names: one of the same name in a process's settings would replace it.
    """

    redis_url: str = Field(
        DEFAULT_REDIS_URL,
        description="redis://host:port/db, or rediss:// for TLS; with sentinels, host and port say nothing",
    )
    redis_username: str | None = Field(None, description="an ACL user; default: Redis' default user")
    redis_password: SecretStr | None = Field(None, description="instead of one in the URL; best in a secret file")
    redis_ca_file: Path | None = Field(
        None, description="with TLS: certificates of who may sign Redis' own; none: the system's"
    )
    redis_cert_file: Path | None = Field(None, description="with TLS: this process' own certificate, where Redis asks")
    redis_key_file: Path | None = Field(None, description="the key of redis_cert_file, where it is not in that file")
    redis_sentinels: Annotated[list[str], NoDecode] = Field(
        default_factory=list,
        description=f"host:port of each Sentinel, by commas (port {SENTINEL_PORT}); they say where the master is",
    )
    redis_master: str = Field("mymaster", min_length=1, description="with sentinels: the master's name there")
    redis_sentinel_username: str | None = Field(
        None, description="the ACL user at the sentinels; default: their default user"
    )
    redis_sentinel_password: SecretStr | None = Field(None, description="the sentinels' own; they are not sent Redis'")
    redis_sentinel_tls: bool = Field(False, description="TLS to the sentinels, with the files of TLS to Redis")
    redis_timeout_s: float = Field(
        5.0, gt=0, description="to connect, and for each answer; a connection without one is given up"
    )
    redis_peer_timeout_s: float = Field(
        PEER_TIMEOUT_S, gt=0, description="a Redis host that acknowledges nothing for so long is gone (TCP keepalive)"
    )

    @field_validator(
        "redis_username", "redis_password", "redis_ca_file", "redis_cert_file", "redis_key_file",
        "redis_sentinel_username", "redis_sentinel_password", mode="before",
    )  # fmt: skip
    @classmethod
    def _redis_blank_is_none(cls, value: object) -> object:
        return value if not isinstance(value, str) or value.strip() else None

    @field_validator("redis_url")
    @classmethod
    def _redis_is_redis(cls, url: str) -> str:
        if urlsplit(url).scheme not in _SCHEMES:
            raise ValueError(
                f"{_shown(url)} is no address of Redis, such as redis://host:6379/0 or rediss://host:6379/0"
            )
        return url

    @field_validator("redis_ca_file", "redis_cert_file", "redis_key_file")
    @classmethod
    def _redis_is_there(cls, path: Path | None) -> Path | None:
        if path is not None and not path.is_file():
            raise ValueError(f"there is no file {path}")
        return path

    @field_validator("redis_sentinels", mode="before")
    @classmethod
    def _redis_split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return [part.strip() for part in value.split(",") if part.strip()]

    @field_validator("redis_sentinels")
    @classmethod
    def _redis_are_addresses(cls, sentinels: list[str]) -> list[str]:
        for sentinel in sentinels:
            if sentinel_address(sentinel) is None:
                raise ValueError(f"{sentinel!r} is no address of a Sentinel, such as host:{SENTINEL_PORT}")
        return sentinels

    @model_validator(mode="after")
    def _redis_fits_together(self) -> Self:
        parts = urlsplit(self.redis_url)
        if self.redis_password is not None and parts.password:
            raise ValueError("redis_url holds a password, and redis_password another: leave one out")
        if self.redis_username is not None and parts.username:
            raise ValueError("redis_url holds a user, and redis_username another: leave one out")
        if self.redis_key_file is not None and self.redis_cert_file is None:
            raise ValueError("redis_key_file is the key of no certificate: set redis_cert_file as well")
        needs_tls = [name for name in ("redis_ca_file", "redis_cert_file") if getattr(self, name) is not None]
        if needs_tls and not (self.redis_uses_tls or (self.redis_sentinels and self.redis_sentinel_tls)):
            raise ValueError(f"{needs_tls[0]} is for TLS: begin redis_url with rediss://")
        if self.redis_sentinels and parts.scheme == "unix":
            raise ValueError("sentinels name a master's host and port: redis_url cannot be a socket's path")
        return self

    @property
    def redis_uses_tls(self) -> bool:
        return urlsplit(self.redis_url).scheme == TLS_SCHEME

    @property
    def redis_place(self) -> str:
        """Where Redis is, for people: no password."""
        if self.redis_sentinels:
            return f"{self.redis_master} of the sentinels {', '.join(self.redis_sentinels)}"
        return _shown(self.redis_url)


def sentinel_address(text: str) -> tuple[str, int] | None:
    """Host and port of `host`, `host:port` or `[address]:port`; None where it is none."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError:
        return None
    if not host or port == 0 or parts.path or parts.query or parts.username is not None:
        return None
    return host, port if port is not None else SENTINEL_PORT


def _shown(url: str) -> str:
    """A URL without what is in front of its host."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="").geturl()
