"""What a worker refuses to start with."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from services.orchestrator.settings import WorkerSettings

FIELDS = pytest.mark.parametrize("field", ["simulator_urls", "respondent_urls"])


@FIELDS
@pytest.mark.parametrize(
    ("given", "urls"),
    [
        ("http://a:8000/v1", ["http://a:8000/v1"]),
        (" http://a:8000/v1 ,, https://b/v1,", ["http://a:8000/v1", "https://b/v1"]),
        ("http://[fd00::1]:65535/v1", ["http://[fd00::1]:65535/v1"]),
        ("http://10.0.0.1:1", ["http://10.0.0.1:1"]),
    ],
)
def test_engines_come_by_commas(monkeypatch: pytest.MonkeyPatch, field: str, given: str, urls: list[str]) -> None:
    monkeypatch.setenv(f"PLATOLM_WORKER_{field.upper()}", given)
    assert getattr(WorkerSettings(), field) == urls


@FIELDS
@pytest.mark.parametrize(
    "url",
    [
        "a:8000/v1",
        "localhost",
        "ftp://a/v1",
        "file:///etc/passwd",
        "//a/v1",
        "http:///v1",
        "http://:8000/v1",
        "http://a:0/v1",
        "http://a:65536/v1",
        "http://a:port/v1",
        "http://a:-1/v1",
        "http://[::1/v1",
    ],
)
def test_what_is_no_address_of_an_engine_is_told(field: str, url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        WorkerSettings.model_validate({field: f"http://good:8000/v1,{url}"})
    [problem] = caught.value.errors()
    assert problem["loc"] == (field,)
    assert problem["msg"] == f"Value error, {url!r} is no address of an engine, such as http://host:8000/v1"


@FIELDS
@pytest.mark.parametrize("given", ["", " , ,"])
def test_a_side_without_engines_is_told(field: str, given: str) -> None:
    with pytest.raises(ValidationError) as caught:
        WorkerSettings.model_validate({field: given})
    [problem] = caught.value.errors()
    assert (problem["loc"], problem["type"]) == ((field,), "too_short")
