"""The chat APIs that an operator lets runs ask: where they are, with which key, how fast, and at what price."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from platolm.chat_apis.operator_files import read_model
from platolm.chat_apis.pace import RateLimits
from platolm.chat_apis.prices import Prices
from platolm.errors import MisconfiguredError
from platolm.spec import ApiName, Url

NO_KEY = "none"
"""What is sent to an API without a key: the SDK wants one."""

EnvironmentName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,199}$")]


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class EndpointLimits(_Settings):
    """What the API bears; its own headers and refusals lower it."""

    requests_per_minute: int | None = Field(None, ge=1, le=10**9)
    tokens_per_minute: int | None = Field(None, ge=1, le=10**12)
    count_tokens: Literal["used", "asked"] | None = Field(
        None, description="whether the API counts tokens used, or those that a request may use; default: asked on Azure"
    )
    in_flight: int = Field(256, ge=1, le=100_000, description="requests at a time, of one process")


class ChatEndpoint(_Settings):
    """An OpenAI-compatible API with one of its models. The key is named, never given."""

    url: Url = Field(description="ends in /v1; with api_version the Azure resource, https://NAME.openai.azure.com")
    model: str = Field(min_length=1, max_length=500, description="as the API calls it; on Azure the deployment")
    api_version: str | None = Field(
        None, pattern=r"^[0-9A-Za-z.-]{1,50}$", description="of Azure's dated API; not for its /openai/v1 path"
    )
    key_env: EnvironmentName | None = Field(
        None, description="environment variable that holds the key, or file of that name in small letters in the "
        "secrets folder",
    )  # fmt: skip
    key_file: Path | None = Field(None, description="file that holds the key")
    limits: EndpointLimits = EndpointLimits()
    prices: Prices | None = Field(None, description="default: those of the model in the price table; 0 where local")
    context_tokens: int | None = Field(
        None, ge=16, le=100_000_000, description="most tokens of prompt and answer; needed where a server cuts silently"
    )
    timeout_s: float = Field(600.0, gt=0, le=86_400, description="longest silence while an answer is made")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    omit: frozenset[Literal["temperature", "top_p", "seed", "stream_options"]] = Field(
        frozenset(), description="what this API refuses, and is not told"
    )
    extra_body: Mapping[str, Any] = Field(
        default_factory=dict, description="fields that every request has besides, such as reasoning_effort"
    )

    @model_validator(mode="after")
    def _one_key(self) -> Self:
        if self.key_env is not None and self.key_file is not None:
            raise ValueError("give key_env or key_file, not both")
        return self

    def rate_limits(self) -> RateLimits:
        counts = self.limits.count_tokens or ("asked" if self.api_version is not None else "used")
        return RateLimits(
            self.limits.requests_per_minute, self.limits.tokens_per_minute, counts_asked=counts == "asked"
        )


class ChatEndpoints(_Settings):
    """The operator's file: endpoints by the names that runs call them."""

    apis: Mapping[ApiName, ChatEndpoint]


def read_endpoints(path: str | Path) -> ChatEndpoints:
    """Endpoints from YAML or JSON.

    Raises:
        SpecError: it cannot be read, or is none; carries everything that is wrong, with its line.
    """
    return read_model(path, ChatEndpoints)


def key_of(
    name: str, endpoint: ChatEndpoint, environment: Mapping[str, str], secrets_folder: Path | None = None
) -> SecretStr:
    """An endpoint's key, from the environment or a file; what it ends in of white space is cut.

    Raises:
        MisconfiguredError: it is named, and not there.
    """
    if endpoint.key_file is not None:
        return SecretStr(_read_key(name, endpoint.key_file))
    if endpoint.key_env is None:
        return SecretStr(NO_KEY)
    if key := environment.get(endpoint.key_env, "").strip():
        return SecretStr(key)
    file = secrets_folder / endpoint.key_env.lower() if secrets_folder is not None else None
    if file is not None and file.is_file():
        return SecretStr(_read_key(name, file))
    raise MisconfiguredError(f"{name}: no key, the environment variable {endpoint.key_env} is not set: set it")


def choose(weights: Mapping[str, float], run_seed: int, index: int, *, without: Collection[str] = ()) -> str | None:
    """The endpoint of a conversation, the same on every worker; None: there is no other.

    By weighted rendezvous hashing: where one is left out, only its conversations move, in proportion to the others'
    weights.
    """
    left = {name: weight for name, weight in weights.items() if weight > 0 and name not in without}
    return max(left, key=lambda name: _score(name, left[name], run_seed, index), default=None)


def _score(name: str, weight: float, run_seed: int, index: int) -> float:
    digest = hashlib.blake2b(f"{run_seed}/{index}/{name}".encode(), digest_size=6).digest()
    uniform = (int.from_bytes(digest, "big") + 0.5) / 2**48  # exact, and never 0 or 1
    return -weight / math.log(uniform)


def _read_key(name: str, file: Path) -> str:
    try:
        key = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise MisconfiguredError(f"{name}: its key file {file} cannot be read: {error}") from error
    if not key:
        raise MisconfiguredError(f"{name}: its key file {file} is empty: write the key into it")
    return key
