"""Answers, whole and in pieces."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.chat_apis.answers import (
    ChatAnswer,
    StreamedAnswer,
    answer_of,
    estimated_prompt_tokens,
    estimated_tokens,
    usage_of,
)
from platolm.chat_apis.prices import Usage
from platolm.errors import SpeakerError
from tests.unit.chat_apis.completions import completion, used


def chunk(content: str | None = None, finish_reason: str | None = None, **more: Any) -> dict[str, Any]:
    delta = {} if content is None else {"content": content}
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish_reason}], **more}


def test_a_whole_answer() -> None:
    answer = answer_of(completion("Hello!", **used(7, 2, 4)), "api")
    assert answer == ChatAnswer("Hello!", "stop", Usage(prompt=7, generated=2, cached=4))


def test_an_answer_without_usage() -> None:
    assert answer_of(completion("Hello!"), "api").usage is None


def test_a_refusal_is_what_was_said() -> None:
    body = completion(None)
    body["choices"][0]["message"]["refusal"] = "I cannot help with that."
    assert answer_of(body, "api").content == "I cannot help with that."


def test_nothing_said_is_blank() -> None:
    assert answer_of(completion(None, "length"), "api") == ChatAnswer("", "length", None)


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"choices": []},
        {"choices": [{}]},
        {"choices": [{"message": None}]},
        {"choices": [{"message": {"content": ["parts"]}}]},
        {"choices": "many"},
    ],
)
def test_what_is_no_answer_may_be_asked_for_again(body: Any) -> None:
    with pytest.raises(SpeakerError, match="api gave no chat completion") as caught:
        answer_of(body, "api")
    assert caught.value.retryable


def test_what_the_filter_kept_back_is_not_asked_for_again() -> None:
    with pytest.raises(SpeakerError, match="its content filter") as caught:
        answer_of(completion("", "content_filter"), "api")
    assert not caught.value.retryable
    with pytest.raises(SpeakerError, match="its content filter"):
        StreamedAnswer("api").feed(chunk(None, "content_filter"))


@pytest.mark.parametrize(
    ("usage", "read"),
    [
        (used(3, 4), Usage(3, 4)),
        (used(3, 4, 2), Usage(3, 4, 2)),
        ({**used(3, 4), "prompt_tokens_details": None}, Usage(3, 4)),
        ({**used(3, 4), "prompt_tokens_details": {"cached_tokens": None}}, Usage(3, 4)),
        ({"prompt_tokens": 3}, None),
        ({"prompt_tokens": -3, "completion_tokens": 4}, None),
        ({"prompt_tokens": "3", "completion_tokens": 4}, None),
        (None, None),
        ("some", None),
    ],
)
def test_counts(usage: Any, read: Usage | None) -> None:
    assert usage_of(usage) == read


@given(st.lists(st.text(max_size=5), max_size=20))
def test_a_stream_comes_to_what_its_pieces_say(pieces: list[str]) -> None:
    streamed, shown = StreamedAnswer("api"), ""
    for piece in pieces:
        assert streamed.feed(chunk(piece)) is bool(piece)
        shown += piece
        assert streamed.content == shown
    streamed.feed(chunk(None, "stop"))
    streamed.feed({"choices": [], "usage": used(1, 2)})
    assert streamed.whole() == ChatAnswer("".join(pieces), "stop", Usage(1, 2))


def test_a_stream_that_ends_too_early_is_no_answer() -> None:
    streamed = StreamedAnswer("api")
    streamed.feed(chunk("Hel"))
    with pytest.raises(SpeakerError, match="stopped in the middle") as caught:
        streamed.whole()
    assert caught.value.retryable


@pytest.mark.parametrize("wrong", [None, [], {"choices": [None]}, {"choices": [{"delta": {"content": 1}}]}])
def test_chunks_that_are_none(wrong: Any) -> None:
    with pytest.raises(SpeakerError, match="gave no chat completion"):
        StreamedAnswer("api").feed(wrong)


def test_estimates_are_rather_too_high() -> None:
    assert estimated_tokens("") == 0
    assert estimated_tokens("abcd") == 2
    assert estimated_tokens("\ud800") == 1  # half a character is a question mark
    assert estimated_prompt_tokens([]) == 6
    assert estimated_prompt_tokens([{"role": "user", "content": "abcdef"}, {"role": "user", "content": ""}]) == 20
