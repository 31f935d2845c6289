from __future__ import annotations

import json
from typing import Any

import pytest
from pydantic import SecretStr

from services.gateway.chat import ChatChunks, chat_object
from services.gateway.errors import RequestError, context_length_exceeded, unavailable
from services.gateway.keys import check_authorization
from services.gateway.schemas import ChatRequest, CompletionRequest, parse_body

HELLO: dict[str, Any] = {"messages": [{"role": "user", "content": "Hello"}]}


def parsed(**fields: Any) -> ChatRequest:
    return parse_body(ChatRequest, json.dumps(HELLO | fields).encode())


def refused(body: bytes, kind: Any = ChatRequest) -> RequestError:
    with pytest.raises(RequestError) as caught:
        parse_body(kind, body)
    assert caught.value.status == 400
    return caught.value


def test_sampling_passes_what_is_named() -> None:
    request = parsed(temperature=0, seed=7, stop=["a"], n=2, top_k=5, user="someone", store=True, presence_penalty=0.5)
    assert request.sampling() == {
        "temperature": 0,
        "seed": 7,
        "stop": ["a"],
        "n": 2,
        "top_k": 5,
        "presence_penalty": 0.5,
    }
    assert parsed().sampling() == {}
    assert parsed(temperature=None, stream=None, max_tokens=None).sampling() == {}


def test_both_names_of_the_limit() -> None:
    assert parsed().limit is None
    assert parsed(max_tokens=3).limit == 3
    assert parsed(max_completion_tokens=4).limit == 4
    assert parsed(max_tokens=3, max_completion_tokens=4).limit == 4


def test_stream_options() -> None:
    assert not parsed(stream=True).include_usage
    assert parsed(stream=True, stream_options={"include_usage": True}).include_usage


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"tools": [{"type": "function"}]}, "tools is not supported"),
        ({"logprobs": True}, "logprobs is not supported"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"temperature": 2.5}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"n": 0}, "n: "),
        ({"messages": "Hello"}, "messages"),
        ({"platolm": {"min_turns": -1}}, "platolm.min_turns"),
        ({"platolm": {"max_turns": 3}}, "platolm.max_turns"),
    ],
)
def test_refusals_name_the_field(fields: dict[str, Any], words: str) -> None:
    assert words in refused(json.dumps(HELLO | fields).encode()).message


def test_harmless_forms_of_unsupported_fields_pass() -> None:
    parsed(tools=[], logprobs=False, response_format={"type": "text"}, metadata={"a": "b"})


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b"{}"])
def test_broken_bodies(body: bytes) -> None:
    refused(body)


def test_completion_prompts_are_text_or_ids() -> None:
    prompts: tuple[Any, ...] = ("a", ["a", "b"], [1, 2], [[1], [2]])
    for prompt in prompts:
        assert parse_body(CompletionRequest, json.dumps({"prompt": prompt}).encode()).prompt == prompt
    others: tuple[Any, ...] = (None, 3, [-1], [["a"]], {})
    for prompt in others:
        refused(json.dumps({"prompt": prompt}).encode(), CompletionRequest)
    assert "suffix" in refused(b'{"prompt": "a", "suffix": "b"}', CompletionRequest).message


def test_error_shape() -> None:
    error = context_length_exceeded(2050, 2048)
    assert error.body["error"]["code"] == "context_length_exceeded"
    assert error.body["error"]["type"] == "invalid_request_error"
    assert set(error.body["error"]) == {"message", "type", "param", "code"}
    assert unavailable("later", code="x", retry_after_s=3).headers == {"Retry-After": "3"}


KEYS = SecretStr("first-key-123, second-key-456")


@pytest.mark.parametrize("header", ["Bearer first-key-123", "bearer second-key-456", "Bearer  second-key-456 "])
def test_key_passes(header: str) -> None:
    check_authorization(header, KEYS)


@pytest.mark.parametrize(
    "header",
    [None, "", "Bearer", "Bearer ", "Bearer first-key-12", "Basic first-key-123", "first-key-123", "Bearer ключ"],
)
def test_key_refused(header: str | None) -> None:
    with pytest.raises(RequestError) as caught:
        check_authorization(header, KEYS)
    assert caught.value.status == 401
    assert caught.value.headers == {"WWW-Authenticate": "Bearer"}


def test_no_keys_let_everyone_in() -> None:
    check_authorization(None, None)


def reply(**choice: Any) -> dict[str, Any]:
    base = {"index": 0, "text": "", "finish_reason": None, "prompt_token_ids": None, "token_ids": None}
    return {"id": "cmpl-7", "created": 5, "model": "engine", "choices": [base | choice]}


def test_chat_object() -> None:
    whole = reply(text="Hi", finish_reason="stop", token_ids=[9, 2], prompt_token_ids=[1]) | {"usage": {"total": 3}}
    who: dict[str, str] = {"speaker": "user", "profile": "userlm"}
    result = chat_object(whole, model="socratic", **who, with_ids=True)
    assert result["id"] == "chatcmpl-7"
    assert result["model"] == "socratic"
    assert result["choices"][0]["message"] == {"role": "assistant", "content": "Hi", **who}
    assert result["choices"][0]["token_ids"] == [9, 2]
    assert result["prompt_token_ids"] == [1]
    assert result["usage"] == {"total": 3}
    assert "prompt_token_ids" not in chat_object(whole, model="m", **who, with_ids=False)


def test_chunks_begin_with_the_role_and_end_with_the_reason() -> None:
    chunks = ChatChunks("model", "assistant", "platolm", with_ids=False, include_usage=True)
    said = [*chunks.of(reply(text="H")), *chunks.of(reply()), *chunks.of(reply(text="i", finish_reason="stop"))]
    deltas = [chunk["choices"][0]["delta"] for chunk in said]
    assert deltas == [
        {"role": "assistant", "content": "", "speaker": "assistant", "profile": "platolm"},
        {"content": "H"},
        {"content": "i"},
        {},
    ]
    assert [chunk["choices"][0]["finish_reason"] for chunk in said] == [None, None, None, "stop"]
    [usage] = chunks.of({"id": "cmpl-7", "created": 5, "choices": [], "usage": {"total_tokens": 2}})
    assert usage["choices"] == []
    assert usage["usage"] == {"total_tokens": 2}
    assert all(chunk["usage"] is None for chunk in said)


def test_each_of_several_answers_begins_once() -> None:
    chunks = ChatChunks("m", "user", "osim", with_ids=True, include_usage=False)
    first = chunks.of(reply(index=1, text="a", token_ids=[5], prompt_token_ids=[1]))
    assert first[0]["prompt_token_ids"] == [1]
    assert first[1]["choices"][0]["token_ids"] == [5]
    assert len(chunks.of(reply(index=0, text="b", token_ids=[6]))) == 2
    assert len(chunks.of(reply(index=1, text="", token_ids=[7]))) == 1
    assert "usage" not in first[0]
