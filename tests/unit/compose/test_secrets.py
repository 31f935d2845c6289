"""The secrets of a stack in containers: made once, never changed, readable as settings."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from platolm.errors import InputError, OutputError
from services.orchestrator.secrets import GivenSecrets, make_secrets
from services.orchestrator.settings import ApiSettings, WorkerSettings
from services.orchestrator.writer_settings import WriterSettings
from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings

MADE = ["api_key", "redis_password", "grafana_password"]
DERIVED = [
    "platolm_api_api_keys",
    "platolm_simulator_api_keys",
    "platolm_respondent_api_keys",
    "platolm_api_gateway_api_key",
    "platolm_api_redis_url",
    "platolm_writer_redis_url",
    "platolm_worker_redis_url",
    "redis.conf",
]
KEY, PASSWORD = "0123456789abcdef", "a.long_pass~word-1"


@pytest.fixture(autouse=True)
def _nothing_given_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("PLATOLM_") or name in ("REDIS_PASSWORD", "GRAFANA_PASSWORD"):
            monkeypatch.delenv(name)


def given(*, key: str | None = None, redis: str | None = None) -> GivenSecrets:
    values = {"platolm_api_key": key, "redis_password": redis}
    return GivenSecrets.model_validate({name: value for name, value in values.items() if value is not None})


def content(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir()}


def run(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "services.orchestrator.secrets", str(folder)]
    return subprocess.run(argv, env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def test_everything_is_made_once(tmp_path: Path) -> None:
    assert make_secrets(tmp_path, given()) == MADE + DERIVED
    first = content(tmp_path)
    assert sorted(first) == sorted(MADE + DERIVED)
    assert len({first[name] for name in MADE}) == 3
    assert all(re.fullmatch(r"[0-9a-f]{48}", first[name]) for name in MADE)
    assert make_secrets(tmp_path, given()) == []
    assert content(tmp_path) == first


def test_only_owner_and_group_read_them(tmp_path: Path) -> None:
    make_secrets(tmp_path, given())
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o440}


def test_two_stacks_have_different_secrets(tmp_path: Path) -> None:
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        make_secrets(tmp_path / name, given())
    one, other = content(tmp_path / "one"), content(tmp_path / "other")
    assert all(one[name] != other[name] for name in one)


def test_what_is_given_is_taken(tmp_path: Path) -> None:
    make_secrets(tmp_path, given(key=KEY, redis=PASSWORD))
    found = content(tmp_path)
    assert {found[name] for name in found if name.endswith(("api_keys", "api_key"))} == {KEY}
    assert {found[name] for name in found if name.endswith("redis_url")} == {f"redis://:{PASSWORD}@redis:6379/0"}
    assert found["redis.conf"] == f"requirepass {PASSWORD}\n"
    assert make_secrets(tmp_path, given(key=KEY)) == []


def test_another_value_than_the_first_is_refused(tmp_path: Path) -> None:
    make_secrets(tmp_path, given())
    before = content(tmp_path)
    with pytest.raises(InputError, match=r"^PLATOLM_API_KEY is not what this stack was started with: "):
        make_secrets(tmp_path, given(key=KEY))
    with pytest.raises(InputError, match=r"^REDIS_PASSWORD is not "):
        make_secrets(tmp_path, given(redis=PASSWORD))
    assert content(tmp_path) == before


def test_one_that_was_killed_half_way_goes_on(tmp_path: Path) -> None:
    make_secrets(tmp_path, given(key=KEY))
    before = content(tmp_path)
    for name in ("redis.conf", "platolm_simulator_api_keys"):
        (tmp_path / name).unlink()
    assert make_secrets(tmp_path, given()) == ["platolm_simulator_api_keys", "redis.conf"]
    assert content(tmp_path) == before


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"nowhere cannot hold the secrets: No such file or directory$"):
        make_secrets(tmp_path / "nowhere", given())


@pytest.mark.parametrize("value", ["with space", "quote'quote", "com,mas,in", "sla/sh/es", "new\nline1", "ünicode1"])
@pytest.mark.parametrize("name", ["platolm_api_key", "redis_password", "grafana_password"])
def test_signs_that_mean_something_somewhere_are_refused(name: str, value: str) -> None:
    with pytest.raises(ValidationError, match="letters, digits"):
        GivenSecrets.model_validate({name: SecretStr(value)})


@pytest.mark.parametrize("name", ["platolm_api_key", "redis_password", "grafana_password"])
def test_a_short_one_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="at least 8 characters"):
        GivenSecrets.model_validate({name: SecretStr("1234567")})


def test_the_command(tmp_path: Path) -> None:
    first = run(tmp_path, PLATOLM_API_KEY=KEY, REDIS_PASSWORD="")
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == f"made {', '.join(MADE + DERIVED)}\n"
    assert (tmp_path / "api_key").read_text() == KEY
    assert run(tmp_path).stdout == "all secrets are there\n"


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"PLATOLM_API_KEY": "change-me-please"}, "error: PLATOLM_API_KEY: an API key looks like a placeholder"),
        ({"REDIS_PASSWORD": "pass word"}, "error: REDIS_PASSWORD: takes letters, digits"),
    ],
)
def test_misuse_is_one_line(tmp_path: Path, environment: dict[str, str], said: str) -> None:
    result = run(tmp_path, **environment)
    assert result.returncode == 2
    [line] = result.stderr.splitlines()
    assert line.startswith(said)
    assert content(tmp_path) == {}


def keys_of(settings: ApiSettings | SimulatorSettings | RespondentSettings) -> str | None:
    return None if settings.api_keys is None else settings.api_keys.get_secret_value()


def read_settings() -> tuple[Sequence[str | None], Sequence[str]]:
    model_servers = SimulatorSettings(model="org/model"), RespondentSettings(model="org/model")
    keys = [keys_of(settings) for settings in (ApiSettings(), *model_servers)]
    return keys, [ApiSettings().redis_url, WriterSettings().redis_url, WorkerSettings().redis_url]


def test_every_process_reads_its_settings_from_the_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_secrets(tmp_path, given(key=KEY, redis=PASSWORD))
    monkeypatch.setenv("PLATOLM_SECRETS_DIR", str(tmp_path))
    assert read_settings() == ([KEY] * 3, [f"redis://:{PASSWORD}@redis:6379/0"] * 3)
    assert ApiSettings().gateway_api_key == SecretStr(KEY)


def test_the_environment_counts_more_than_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make_secrets(tmp_path, given())
    monkeypatch.setenv("PLATOLM_SECRETS_DIR", str(tmp_path))
    monkeypatch.setenv("PLATOLM_WORKER_REDIS_URL", "redis://elsewhere:1/0")
    assert WorkerSettings().redis_url == "redis://elsewhere:1/0"


@pytest.mark.parametrize("folder", [None, ""])
def test_without_a_folder_nothing_is_read(folder: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if folder is not None:
        monkeypatch.setenv("PLATOLM_SECRETS_DIR", folder)
    assert read_settings() == ([None] * 3, ["redis://127.0.0.1:6390/0"] * 3)
    assert ApiSettings().gateway_api_key is None


def test_a_folder_that_is_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLATOLM_SECRETS_DIR", str(tmp_path / "nowhere"))
    with pytest.raises(ValidationError, match=r"PLATOLM_SECRETS_DIR names .*nowhere, which is no folder"):
        WorkerSettings()


def test_an_empty_variable_of_a_model_server_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MAX_MODEL_LEN", "ENGINE_THREADS", "ENGINE_ARGS", "PROFILE"):
        monkeypatch.setenv(f"PLATOLM_SIMULATOR_{name}", "")
    settings = SimulatorSettings(model="org/model")
    assert (settings.max_model_len, settings.engine_threads, settings.engine_args) == (None, None, "")
    assert (settings.profile, settings.profile_name) == (None, "socratic")
