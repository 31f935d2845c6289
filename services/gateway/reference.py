"""What the served OpenAPI says of the generating routes, whose bodies are read by hand."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, Field

from services.gateway.original import GenerateReply, GenerateRequest
from services.gateway.schemas import ChatRequest, CompletionRequest
from services.gateway.utterances import Ending

Json = dict[str, Any]


class ChatMessage(BaseModel):
    role: Literal["assistant"] = Field(description="OpenAI's clients take no other; who speaks is in `speaker`")
    content: str = Field(description="what is kept of the utterance: no end marker, no thought")
    speaker: Literal["user", "assistant"]
    profile: str = Field(description="how the speaker was prompted")


class ChatChoice(BaseModel):
    """`platolm` says whether the conversation is over; `finish_reason` is why the engine stopped."""

    index: int
    message: ChatMessage
    logprobs: None = None
    finish_reason: Literal["stop", "length", "abort"]
    stop_reason: int | str | None = Field(description="the token or text that stopped the engine; null: the eos")
    platolm: Ending
    token_ids: list[int] | None = Field(None, description="with `return_token_ids`: as generated")


class Usage(BaseModel):
    prompt_tokens: int
    completion_tokens: int = Field(description="of every try")
    total_tokens: int
    prompt_tokens_details: dict[str, int] | None = None


class ChatReply(BaseModel):
    """Streamed: `chat.completion.chunk` objects, whose last one of each choice has `finish_reason` and `platolm`."""

    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[ChatChoice]
    usage: Usage
    prompt_token_ids: list[int] | None = Field(None, description="with `return_token_ids`")


class ErrorDetail(BaseModel):
    message: str
    type: str
    param: str | None
    code: str | None


class ErrorReply(BaseModel):
    """`code` is `context_length_exceeded` where the conversation leaves no room for another utterance."""

    error: ErrorDetail


def _described(asked: type[BaseModel], summary: str, answered: type[BaseModel] | None) -> Json:
    """Keyword arguments of a route's decorator."""
    body = {"required": True, "content": {"application/json": {"schema": _inlined(asked.model_json_schema())}}}
    answer: Json = {"description": "the answer"} | ({"model": answered} if answered is not None else {})
    return {
        "summary": summary,
        "openapi_extra": {"requestBody": body},
        "responses": {200: answer, 400: {"model": ErrorReply, "description": "refused: say it differently"}},
    }


def _inlined(schema: Json) -> Json:
    """The schema with its own definitions in the places that refer to them."""
    definitions = schema.get("$defs", {})

    def resolved(part: Any) -> Any:
        if isinstance(part, list):
            return [resolved(item) for item in part]
        if not isinstance(part, dict):
            return part
        if "$ref" in part:
            return resolved(definitions[part["$ref"].removeprefix("#/$defs/")])
        return {key: resolved(value) for key, value in part.items() if key != "$defs"}

    result: Json = resolved(schema)
    return result


CHAT = _described(ChatRequest, "The next utterance of this server's side", ChatReply)
COMPLETION = _described(CompletionRequest, "The engine's continuation of a text, or of ids", None)
GENERATE = _described(GenerateRequest, "The original simulator's API, for its old clients", GenerateReply)
