"""What is said of Redis, and what contradicts itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, ValidationError
from redis.exceptions import NoScriptError, OutOfMemoryError, ReadOnlyError, ResponseError

from services.orchestrator.queue.client import open_redis
from services.orchestrator.queue.outages import RedisRefusesError, refusal_of
from services.orchestrator.redis_settings import RedisSettings, sentinel_address
from services.orchestrator.settings import ApiSettings, WorkerSettings
from services.orchestrator.writer_settings import WriterSettings

PROCESSES = {"api": ApiSettings, "worker": WorkerSettings, "writer": WriterSettings}


@pytest.mark.parametrize("process", PROCESSES)
def test_a_password_comes_from_the_environment_or_a_file(
    process: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / f"platolm_{process}_redis_password").write_text("from a file\n")
    monkeypatch.setenv("PLATOLM_SECRETS_DIR", str(tmp_path))
    assert PROCESSES[process]().redis_password == SecretStr("from a file")
    monkeypatch.setenv(f"PLATOLM_{process.upper()}_REDIS_PASSWORD", "from the environment")
    settings = PROCESSES[process]()
    assert open_redis(settings).connection_pool.connection_kwargs["password"] == "from the environment"
    assert "environment" not in repr(settings)


@pytest.mark.parametrize("process", PROCESSES)
def test_every_process_reads_them_as_they_are_written(process: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing in its own settings stands in the way."""
    prefix = f"PLATOLM_{process.upper()}_REDIS"
    monkeypatch.setenv(f"{prefix}_SENTINELS", "a:1, b")
    monkeypatch.setenv(f"{prefix}_PASSWORD", " ")
    settings = PROCESSES[process]()
    assert isinstance(settings, RedisSettings)
    assert (settings.redis_sentinels, settings.redis_password) == (["a:1", "b"], None)
    monkeypatch.setenv(f"{prefix}_URL", "http://host")
    with pytest.raises(ValidationError, match="no address of Redis"):
        PROCESSES[process]()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"redis_url": "http://host:6379"}, "no address of Redis"),
        ({"redis_url": "redis://:a@host", "redis_password": "b"}, "leave one out"),
        ({"redis_url": "redis://u:a@host", "redis_username": "v"}, "leave one out"),
        ({"redis_url": "rediss://host", "redis_ca_file": "nowhere.pem"}, "no file nowhere.pem"),
        ({"redis_url": "redis://host", "redis_ca_file": __file__}, "begin redis_url with rediss://"),
        ({"redis_url": "rediss://host", "redis_key_file": __file__}, "set redis_cert_file"),
        ({"redis_sentinels": "host:0"}, "no address of a Sentinel"),
        ({"redis_sentinels": "host", "redis_url": "unix:///run/redis"}, "cannot be a socket"),
    ],
)
def test_what_cannot_work_is_refused(given: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason) as refused:
        RedisSettings(**given)
    assert ":a@" not in str(refused.value.errors()[0]["msg"])


@pytest.mark.parametrize(
    ("text", "address"),
    [("host", ("host", 26379)), ("host:1", ("host", 1)), ("[fd00::1]:2", ("fd00::1", 2)), ("a/b", None), ("h:x", None)],
)
def test_addresses_of_sentinels(text: str, address: tuple[str, int] | None) -> None:
    assert sentinel_address(text) == address


def test_where_redis_is_without_its_password() -> None:
    assert RedisSettings(redis_url="rediss://u:secret@host:1/2?ssl_ca_certs=x").redis_place == "rediss://host:1/2"
    sentinels = RedisSettings(redis_sentinels=["a", "b:1"], redis_master="main")
    assert sentinels.redis_place == "main of the sentinels a, b:1"


def test_a_request_must_not_outlive_the_claim_that_it_was_made_under() -> None:
    assert WorkerSettings(lease_s=8).silence_s == 4
    assert WorkerSettings(lease_s=8, engine_peer_timeout_s=1).silence_s == 1
    with pytest.raises(ValidationError, match=r"more than half of lease_s \(4\)"):
        WorkerSettings(lease_s=8, engine_peer_timeout_s=5)


REDIS_6_FULL = (
    "Error running script (call to f_1): @user_script:12: @user_script: 12: -OOM command not allowed when used memory "
    "> 'maxmemory'."
)


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ResponseError(REDIS_6_FULL), "OOM"),
        (OutOfMemoryError("command not allowed"), "OOM"),
        (ReadOnlyError("You can't write against a read only replica."), "READONLY"),
        (ResponseError("MISCONF Errors writing to the AOF file: No space left on device"), "MISCONF"),
        (ResponseError("NOREPLICAS Not enough good replicas to write."), "NOREPLICAS"),
        (RedisRefusesError("OOM", "once more"), "OOM"),
        (ResponseError("Error running script: ROOM is no word of ours"), None),
        (NoScriptError("No matching script"), None),
        (ValueError("OOM"), None),
    ],
)
def test_refusals_that_pass(error: Exception, word: str | None) -> None:
    found = refusal_of(error)
    assert (found and found.word) == word
