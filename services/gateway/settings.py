"""Settings that both model servers have; each adds its env prefix and its defaults."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal, Self

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import SettingsConfigDict

from platolm import simulators
from platolm.dyadic import PLATOLM, SOCRATIC
from platolm.respondents import RESPONDENTS
from services.gateway.engine_options import EngineOptions

MIN_KEY_LENGTH = 8
_PLACEHOLDERS = ("change", "placeholder", "example", "your-", "your_", "secret", "password", "xxxx", "todo", "<")


class GatewaySettings(EngineOptions):
    """One model server: what it serves, where it listens, the engine behind it.

    The field descriptions are the settings reference and the text of `--help`. An empty variable is as good as none, so
    that a Compose file can pass on what may not be set.
    """

    model_config = SettingsConfigDict(extra="forbid", frozen=True, env_ignore_empty=True)

    profiles: ClassVar[tuple[str, ...]] = (*simulators.names(), *RESPONDENTS)
    """What `profile` may be."""

    model: str | None = Field(None, description="model folder, or a name on the Hugging Face hub")
    tokenizer: str | None = Field(None, description="tokenizer folder or hub name, where it is not the model's")
    served_model_name: str = Field("model", description="the name that requests use", min_length=1)
    profile: str | None = Field(PLATOLM.name, description=f"profile to prompt with: {', '.join(profiles)}")
    host: str = Field("127.0.0.1", description="address to listen on")
    port: int = Field(8000, ge=1, le=65535, description="port to listen on")
    engine_host: str = Field("127.0.0.1", description="address of the inner engine (0.0.0.0 in a container)")
    engine_port: int = Field(8010, ge=1, le=65535, description="port of the inner engine")
    engine_url: str | None = Field(
        None, description="use the vLLM server that runs at this URL (http://host:port/v1) instead of starting one"
    )
    engine_api_key: SecretStr | None = Field(None, description="key of the engine at engine_url, if it wants one")
    engine_args: str = Field("", description="further vLLM flags, as one string: '--pipeline-parallel-size 2'")
    engine_log: Path | None = Field(None, description="the engine's log file; default: in the temporary folder")
    engine_threads: int | None = Field(
        None, ge=1, description="CPU build: threads of the engine (OMP_NUM_THREADS); default: all cores but one"
    )
    max_model_len: int | None = Field(None, ge=16, description="context length in tokens; default: the model's own")
    dtype: str | None = Field(
        None, description="weights' type; default: auto on GPU; on CPU float32, or bfloat16 with AMX where the model is"
    )
    kv_cache_gib: int = Field(1, ge=1, description="CPU build: size of the KV cache in GiB")
    gpu_memory_utilization: float = Field(0.9, gt=0, le=1, description="GPU: share of its memory the engine takes")
    api_keys: SecretStr | None = Field(
        None, description="key that /v1 asks for, or several with commas between; none: open to who can connect"
    )
    metrics_need_key: bool = Field(False, description="whether /metrics asks for the key too")
    temperature: float = Field(0.7, ge=0, le=2, description="sampling temperature where a request names none")
    top_p: float = Field(1.0, gt=0, le=1, description="top-p where a request names none")
    max_tokens: int = Field(512, ge=1, description="new tokens where a request names no limit")
    guardrail_retries: int = Field(
        3, ge=0, description="how often a simulator's utterance with a fault is made again; streamed ones never are"
    )
    max_in_flight: int = Field(512, ge=1, description="requests at a time; one more is answered 429")
    max_body_bytes: int = Field(4 * 1024 * 1024, ge=1024, description="largest request body")
    request_timeout_s: float = Field(600.0, gt=0, description="longest time one request may take")
    drain_timeout_s: float = Field(30.0, ge=0, description="time for requests in flight when asked to stop")
    startup_timeout_s: float = Field(600.0, gt=0, description="time the engine has to come up")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="debug, info, warning or error; message texts appear at debug only"
    )

    @field_validator("profile")
    @classmethod
    def _known_profile(cls, name: str | None) -> str | None:
        if name is not None and name not in cls.profiles:
            raise ValueError(f"no profile {name!r} here: choose one of {', '.join(cls.profiles)}")
        return name

    @field_validator("api_keys")
    @classmethod
    def _real_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None or not value.get_secret_value().strip():
            return None
        for key in split_keys(value):
            check_key(key)
        return value

    @field_validator("engine_url")
    @classmethod
    def _engine_base(cls, url: str | None) -> str | None:
        if not url:
            return None
        if not url.startswith(("http://", "https://")):
            raise ValueError("an engine URL begins with http:// or https://")
        return url.rstrip("/").removesuffix("/v1")

    @model_validator(mode="after")
    def _two_ports(self) -> Self:
        if self.engine_url is None and self.port == self.engine_port:
            raise ValueError(f"port and engine_port are both {self.port}")
        return self

    @model_validator(mode="after")
    def _options_have_an_engine(self) -> Self:
        if self.engine_url is not None and self.given_options:
            named = ", ".join(self.given_options)
            raise ValueError(f"{named}: for an engine that is started here; the one at engine_url has its own settings")
        return self

    @property
    def profile_name(self) -> str:
        """The profile that is named, else that of the model's name, else Socratic's."""
        if self.profile is not None:
            return self.profile
        known = simulators.profile_for(self.model) if self.model is not None else None
        return known.name if known is not None else SOCRATIC.name

    @property
    def engine_base_url(self) -> str:
        """The engine's root, without `/v1`."""
        if self.engine_url is not None:
            return self.engine_url
        host = "127.0.0.1" if self.engine_host in ("0.0.0.0", "::") else self.engine_host
        return f"http://{host}:{self.engine_port}"


def split_keys(keys: SecretStr) -> list[str]:
    """The keys of a comma-separated setting."""
    return [key.strip() for key in keys.get_secret_value().split(",") if key.strip()]


def check_key(key: str) -> None:
    """Refuse a key that came with an example file.

    Raises:
        ValueError: the key is short, or looks like a placeholder.
    """
    if len(key) < MIN_KEY_LENGTH:
        raise ValueError(f"an API key needs at least {MIN_KEY_LENGTH} characters")
    if any(word in key.lower() for word in _PLACEHOLDERS):
        raise ValueError("an API key looks like a placeholder: make one with `openssl rand -hex 24`")
