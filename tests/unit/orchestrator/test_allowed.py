from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.orchestrator.runs.allowed import Place, place_of, refusal_of
from services.orchestrator.settings import ApiSettings

ENGINES = ["http://engines.internal:8000/v1", "https://api.example"]
OUTPUTS = ["s3://bucket/datasets", "file:///srv/out"]


@pytest.mark.parametrize(
    "url",
    [
        "http://engines.internal:8000/v1",
        "http://engines.internal:8000/v1/",
        "HTTP://Engines.Internal:8000/v1/more",
        "http://engines.internal.:8000/v1",
        "https://api.example:443/v1",
        "https://api.example",
    ],
)
def test_engines_below_a_prefix(url: str) -> None:
    assert refusal_of(url, ENGINES, setting="x") is None


@pytest.mark.parametrize(
    "url",
    [
        "http://engines.internal:8000/v10",
        "http://engines.internal:8000",
        "http://engines.internal:80001/v1",
        "http://engines.internal/v1",
        "https://engines.internal:8000/v1",
        "http://engines.internal.evil:8000/v1",
        "http://engines.internal:8000@evil/v1",
        "http://evil/http://engines.internal:8000/v1",
        "http://engines.internal:8000/v1/../admin",
        "http://engines.internal:8000/v1/%2e%2e/admin",
        "http://engines.internal:8000/v1/./x",
        "http://engines.internal:8000//v1",
        "http://engines.internal:8000\\v1",
        "http://engines.internal:8000/v1?x",
        "http://engines.internal:8000/v1#x",
        "http://engines.internal:8000/v1\n",
        "https://api.example.evil/v1",
        "https://api.example:8443",
        "https://api.example:",
        "http:///v1",
        "engines.internal:8000/v1",
        "",
    ],
)
def test_engines_elsewhere(url: str) -> None:
    assert refusal_of(url, ENGINES, setting="x") is not None


@pytest.mark.parametrize("url", ["s3://bucket/datasets", "s3://bucket/datasets/a/b", "file:///srv/out/a"])
def test_outputs_below_a_prefix(url: str) -> None:
    assert refusal_of(url, OUTPUTS, setting="x") is None


@pytest.mark.parametrize(
    "url",
    [
        "s3://bucket/datasets-of-others",
        "s3://bucket",
        "s3://Bucket/datasets",
        "s3://other/datasets",
        "s3a://bucket/datasets",
        "gs://bucket/datasets",
        "s3://bucket/datasets/../other",
        "s3://bucket/datasets/%2e%2e/other",
        "s3://bucket/datasets//x",
        "file:///srv/out/../../etc",
        "file:///srv/outside",
        "file://srv/out",
        "file:///etc",
        "zip://x::file:///srv/out",
        "file:///srv/out::s3://other",
        "simplecache::s3://bucket/datasets",
    ],
)
def test_outputs_elsewhere(url: str) -> None:
    assert refusal_of(url, OUTPUTS, setting="x") is not None


def test_nothing_is_allowed_where_nothing_is_listed() -> None:
    assert refusal_of("http://engines.internal:8000/v1", [], setting="THE_LIST") == (
        "is not below a URL that the operator allows (THE_LIST)"
    )


def test_places() -> None:
    assert place_of("http://[::1]/v1/x") == Place("http", "::1:80", ("v1", "x"))
    assert place_of("file:///") == Place("file", "", ())


def test_the_operators_lists_are_split_and_checked() -> None:
    settings = ApiSettings.model_validate({"allowed_endpoints": "http://a/v1, http://b:1/v1,"})
    assert settings.allowed_endpoints == ["http://a/v1", "http://b:1/v1"]
    with pytest.raises(ValidationError, match="a/v1"):
        ApiSettings.model_validate({"allowed_endpoints": "a/v1"})
