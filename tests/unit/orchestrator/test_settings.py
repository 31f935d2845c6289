"""What the API and a worker refuse to start with."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from services.orchestrator.settings import ApiSettings, WorkerSettings

MODEL_SERVERS = pytest.mark.parametrize("field", ["simulator_url", "respondent_url"])
NO_ADDRESSES = [
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
]
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
@pytest.mark.parametrize("url", NO_ADDRESSES)
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


@MODEL_SERVERS
@pytest.mark.parametrize("given", ["http://proxy:8001/v1", "http://proxy:8001/v1/"])
def test_model_servers_of_talks(monkeypatch: pytest.MonkeyPatch, field: str, given: str) -> None:
    monkeypatch.setenv(f"PLATOLM_API_{field.upper()}", given)
    assert getattr(ApiSettings(), field) == "http://proxy:8001/v1"


@MODEL_SERVERS
@pytest.mark.parametrize("url", [*NO_ADDRESSES, ""])
def test_what_is_no_address_of_a_model_server_is_told(field: str, url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ApiSettings.model_validate({field: url})
    [problem] = caught.value.errors()
    assert problem["msg"] == f"Value error, {url!r} is no address of a model server, such as http://host:8001/v1"


@pytest.mark.parametrize("key", ["", " "])
def test_a_blank_key_of_the_model_servers_is_none(key: str) -> None:
    assert ApiSettings(gateway_api_key=SecretStr(key)).gateway_api_key is None


@FIELDS
def test_a_side_may_have_chat_apis_alone(monkeypatch: pytest.MonkeyPatch, field: str) -> None:
    monkeypatch.setenv("PLATOLM_WORKER_CHAT_APIS_FILE", "/chat-apis/apis.yaml")
    monkeypatch.setenv(f"PLATOLM_WORKER_{field.upper()}", "")
    settings = WorkerSettings()
    assert getattr(settings, field) == []
    assert settings.chat_apis_file == Path("/chat-apis/apis.yaml")


@pytest.mark.parametrize("name", ["CHAT_APIS_FILE", "PRICES_FILE"])
def test_an_empty_file_of_chat_apis_is_none(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """As Compose passes on a variable that is not set."""
    for prefix in ("API", "WORKER"):
        monkeypatch.setenv(f"PLATOLM_{prefix}_{name}", "")
    assert getattr(ApiSettings(), name.lower()) is None
    assert getattr(WorkerSettings(), name.lower()) is None
