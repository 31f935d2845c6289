"""Request bodies of the OpenAI routes: what is read, what is refused, what is passed to the engine."""

from __future__ import annotations

import json
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from platolm.simulators import Told
from services.gateway.errors import RequestError

TokenId = Annotated[int, Field(ge=0)]
Body = TypeVar("Body", bound=BaseModel)

_PASSED = (
    "temperature",
    "top_p",
    "seed",
    "stop",
    "n",
    "presence_penalty",
    "frequency_penalty",
    "logit_bias",
    "top_k",
    "min_p",
    "repetition_penalty",
    "min_tokens",
    "stop_token_ids",
    "ignore_eos",
)
"""Sampling parameters that the engine reads by the same name; the last six are vLLM's own."""


class StreamOptions(BaseModel):
    include_usage: bool = False


class ToldFields(BaseModel):
    """What a simulator is told of the user it plays, beside the system messages."""

    model_config = ConfigDict(extra="forbid")

    intent: str | None = Field(None, description="what the user wants")
    persona: str | None = Field(None, description="who the user is")
    profile: str | None = Field(None, description="the user's profile in prose")
    goal: str | None = Field(None, description="what the user wants to reach")
    instruction: str | None = Field(None, description="a text with fields such as {persona}, in place of the profile's")

    def as_told(self) -> Told:
        return Told(**self.model_dump())


class Wishes(BaseModel):
    """`platolm` of a chat request: what OpenAI's API has no word for."""

    model_config = ConfigDict(extra="forbid")

    min_turns: int = Field(
        0,
        ge=0,
        le=100_000,
        description="utterances of both sides, before which an end is made again; the profile's own minimum holds too",
    )
    goodbye_probability: bool = Field(False, description="tell how likely the utterance was to be a goodbye")


class _Request(BaseModel):
    """What both routes share. Fields that are not named here are ignored, as OpenAI-compatible servers do."""

    model_config = ConfigDict(extra="ignore")

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    seed: int | None = None
    stop: str | list[str] | None = None
    n: int | None = Field(None, ge=1, le=128)
    presence_penalty: float | None = Field(None, ge=-2, le=2)
    frequency_penalty: float | None = Field(None, ge=-2, le=2)
    logit_bias: dict[str, float] | None = None
    top_k: int | None = None
    min_p: float | None = Field(None, ge=0, le=1)
    repetition_penalty: float | None = Field(None, gt=0)
    min_tokens: int | None = Field(None, ge=0)
    stop_token_ids: list[TokenId] | None = None
    ignore_eos: bool | None = None
    return_token_ids: bool = False

    @property
    def include_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    def sampling(self) -> dict[str, Any]:
        """The engine's sampling fields that the request names."""
        return {name: value for name in _PASSED if (value := getattr(self, name)) is not None}


class ChatRequest(_Request):
    """`POST /v1/chat/completions`. Messages are read by `platolm.conversation`."""

    messages: list[dict[str, Any]]
    told: ToldFields = ToldFields()
    platolm: Wishes = Wishes()
    max_completion_tokens: int | None = Field(None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, data: Any) -> Any:
        """What would change the answer's meaning is refused; what would not is ignored."""
        if isinstance(data, dict):
            for name in ("tools", "functions", "logprobs", "top_logprobs", "audio", "prediction"):
                if data.get(name):
                    raise ValueError(f"{name} is not supported by this server")
            response_format = data.get("response_format")
            if response_format and response_format != {"type": "text"}:
                raise ValueError("response_format other than text is not supported by this server")
        return data

    @property
    def limit(self) -> int | None:
        """The new tokens asked for, under its old or its new name."""
        return self.max_completion_tokens or self.max_tokens


class CompletionRequest(_Request):
    """`POST /v1/completions`: text, which becomes ids with control tokens disabled, or ids as they are."""

    prompt: str | list[TokenId] | list[str] | list[list[TokenId]]
    echo: bool | None = None
    logprobs: int | None = Field(None, ge=0, le=20)

    @model_validator(mode="before")
    @classmethod
    def _refuse_unsupported(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("suffix"):
            raise ValueError("suffix is not supported by this server")
        return data

    def sampling(self) -> dict[str, Any]:
        more = {"echo": self.echo, "logprobs": self.logprobs}
        return super().sampling() | {name: value for name, value in more.items() if value is not None}


def parse_body(kind: type[Body], body: bytes) -> Body:
    """Read a request body.

    Raises:
        RequestError: 400, with the first thing that is wrong.
    """
    try:
        data = json.loads(body)
    except ValueError as error:
        raise RequestError(400, f"the body is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise RequestError(400, "the body must be a JSON object")
    try:
        return kind.model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        param = ".".join(str(part) for part in first["loc"]) or None
        message = first["msg"].removeprefix("Value error, ")
        raise RequestError(400, f"{param}: {message}" if param else message, param=param) from error
