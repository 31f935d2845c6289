"""Streams of an engine, put together again however they are cut into pieces."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from platolm.completions import Completion, StreamedCompletion
from platolm.errors import MisconfiguredError, SpeakerError

URL = "http://engine/v1"


def event(**fields: Any) -> bytes:
    return b"data: " + json.dumps(fields).encode() + b"\n\n"


def chunk(ids: Any, finish_reason: str | None = None) -> bytes:
    return event(choices=[{"index": 0, "text": "", "token_ids": ids, "finish_reason": finish_reason}])


def usage(cached: Any) -> bytes:
    return event(choices=[], usage={"prompt_tokens": 9, "prompt_tokens_details": cached})


DONE = b"data: [DONE]\n\n"
WHOLE = b": a comment\n\n" + chunk([5]) + chunk([6, 7]) + chunk([2], "stop") + usage({"cached_tokens": 16}) + DONE


def fed(*contents: bytes) -> StreamedCompletion:
    streamed = StreamedCompletion(URL)
    for content in contents:
        streamed.feed(content)
    return streamed


def error_of(*contents: bytes) -> SpeakerError:
    with pytest.raises(SpeakerError) as caught:
        fed(*contents).whole()
    return caught.value


@given(st.lists(st.integers(1, len(WHOLE) - 1), max_size=12))
def test_a_stream_is_the_same_however_it_is_cut(cuts: list[int]) -> None:
    edges = [0, *sorted(set(cuts)), len(WHOLE)]
    streamed = StreamedCompletion(URL)
    new_ids = [streamed.feed(WHOLE[start:end]) for start, end in pairwise(edges)]
    assert list(chain(*new_ids)) == [5, 6, 7, 2]
    assert streamed.whole() == Completion([5, 6, 7, 2], "stop", 16)


def test_what_is_new_is_told_at_once() -> None:
    streamed = StreamedCompletion(URL)
    assert streamed.feed(chunk([5])) == [5]
    assert streamed.feed(chunk([6, 7])[:-9]) == []
    assert streamed.feed(chunk([6, 7])[-9:] + chunk([8])) == [6, 7, 8]
    assert streamed.token_ids == [5, 6, 7, 8]


@pytest.mark.parametrize("line_end", [b"\n\n", b"\r\n\r\n"])
def test_both_kinds_of_line_ends(line_end: bytes) -> None:
    content = (chunk([5], "length") + DONE).replace(b"\n\n", line_end)
    assert fed(content).whole() == Completion([5], "length", None)


@pytest.mark.parametrize(("details", "cached"), [(None, None), ({}, None), ({"cached_tokens": 0}, 0)])
def test_cached_tokens_where_they_are_told(details: Any, cached: int | None) -> None:
    assert fed(chunk([5], "stop"), usage(details), DONE).whole().num_cached_tokens == cached


def test_nothing_but_an_end_is_an_utterance() -> None:
    assert fed(chunk([2], "stop"), DONE).whole() == Completion([2], "stop", None)
    assert fed(chunk([], "length"), DONE).whole() == Completion([], "length", None)


@pytest.mark.parametrize(
    "contents",
    [
        [],
        [chunk([5])],
        [chunk([5], "stop")],
        [chunk([5]), DONE],
        [chunk([5]), chunk([], "abort"), DONE],
        [chunk([5]), chunk(None, "abort"), DONE],
        [WHOLE[:-2]],
    ],
)
def test_a_stream_that_ends_in_the_middle_is_asked_for_again(contents: Sequence[bytes]) -> None:
    error = error_of(*contents)
    assert (type(error), error.retryable, error.status) == (SpeakerError, True, None)
    assert str(error) == f"{URL} stopped in the middle of an utterance"


@pytest.mark.parametrize(
    "data", [b"data: {", b"data: []", b'data: {"choices": 3}', b"data: 5", b'data: {"choices": [3]}']
)
def test_what_is_no_completion_is_asked_for_again(data: bytes) -> None:
    error = error_of(chunk([5]), data + b"\n\n", DONE)
    assert (type(error), error.retryable) == (SpeakerError, True)
    assert "gave no completion" in str(error)


@pytest.mark.parametrize("ids", [None, "5", 5])
def test_an_engine_without_token_ids_is_the_wrong_engine(ids: Any) -> None:
    error = error_of(chunk(ids), DONE)
    assert type(error) is MisconfiguredError
    assert "no token ids" in str(error)


@pytest.mark.parametrize(
    ("code", "status", "retryable", "kind"),
    [
        (400, 400, False, SpeakerError),
        (404, 404, False, MisconfiguredError),
        (429, 429, True, SpeakerError),
        (500, 500, True, SpeakerError),
        (None, 500, True, SpeakerError),
        ("EngineDead", 500, True, SpeakerError),
    ],
)
def test_an_error_in_the_stream_has_the_status_that_it_carries(
    code: Any, status: int, retryable: bool, kind: type[SpeakerError]
) -> None:
    error = error_of(chunk([5]), event(error={"message": "it\nbroke", "code": code}), DONE)
    assert (type(error), error.status, error.retryable) == (kind, status, retryable)
    assert str(error).startswith(f"{URL} answered {status}: ")
    assert "it\\nbroke" in str(error)
