"""The secrets of a stack in containers: made at its first start, each a file that only the stack's group can read.

python -m services.orchestrator.secrets FOLDER

    api_key             what the API and both model servers ask for
    redis_password      what Redis asks for; also as `redis.conf`, in the form that Redis reads
    grafana_password    of Grafana's user `admin`
    platolm_*           the same values, each as the setting that wants it (`services.secret_files`)

What the environment gives is taken (PLATOLM_API_KEY, REDIS_PASSWORD, GRAFANA_PASSWORD), the rest is random. A file that
is there is never changed: other containers may be using it.
"""

from __future__ import annotations

import os
import re
import secrets
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer
from pydantic import SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from platolm.errors import InputError, OutputError, PlatoLMError
from platolm.storage import sync_folder
from services.gateway.errors import FAILURE, MISUSE
from services.gateway.settings import MIN_KEY_LENGTH, check_key

API_KEY, REDIS_PASSWORD, GRAFANA_PASSWORD = "api_key", "redis_password", "grafana_password"
FILE_MODE = 0o440
_NUM_RANDOM_BYTES = 24
_GIVEN_BY = {API_KEY: "platolm_api_key", REDIS_PASSWORD: "redis_password", GRAFANA_PASSWORD: "grafana_password"}
_PLAIN = re.compile(r"[A-Za-z0-9._~-]+")
"""Signs that mean themselves in a URL, in Redis's configuration and in a list with commas."""


class GivenSecrets(BaseSettings):
    """Secrets that the operator chose; those that are None are made."""

    model_config = SettingsConfigDict(env_ignore_empty=True)

    platolm_api_key: SecretStr | None = None
    redis_password: SecretStr | None = None
    grafana_password: SecretStr | None = None

    @field_validator("platolm_api_key", "redis_password", "grafana_password")
    @classmethod
    def _is_plain(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _PLAIN.fullmatch(value.get_secret_value()):
            raise ValueError("takes letters, digits and . _ ~ - only: make one with `openssl rand -hex 24`")
        if value is not None and len(value.get_secret_value()) < MIN_KEY_LENGTH:
            raise ValueError(f"needs at least {MIN_KEY_LENGTH} characters: make one with `openssl rand -hex 24`")
        return value

    @field_validator("platolm_api_key")
    @classmethod
    def _is_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            check_key(value.get_secret_value())
        return value


def make_secrets(folder: Path, given: GivenSecrets) -> list[str]:
    """Make the files that are not there yet; gives their names.

    Raises:
        InputError: the environment gives another value than the folder holds.
        OutputError: the folder cannot be read or written.
    """
    try:
        made = [name for name in _GIVEN_BY if _settle(folder / name, _given(given, name))]
        values = {name: (folder / name).read_text(encoding="ascii") for name in _GIVEN_BY}
        return made + [name for name, text in derived_files(values).items() if _create(folder / name, text)]
    except OSError as error:
        raise OutputError(f"{folder} cannot hold the secrets: {error.strerror or error}") from error


def derived_files(values: Mapping[str, str]) -> dict[str, str]:
    """The files that follow from the secrets, by name."""
    key, password = values[API_KEY], values[REDIS_PASSWORD]
    keys = {f"platolm_{service}_api_keys": key for service in ("api", "simulator", "respondent")}
    url = f"redis://:{password}@redis:6379/0"
    urls = {f"platolm_{service}_redis_url": url for service in ("api", "writer", "worker")}
    return {**keys, "platolm_api_gateway_api_key": key, **urls, "redis.conf": f"requirepass {password}\n"}


def _given(given: GivenSecrets, name: str) -> str | None:
    value: SecretStr | None = getattr(given, _GIVEN_BY[name])
    return None if value is None else value.get_secret_value()


def _settle(path: Path, wanted: str | None) -> bool:
    """Have a secret in place; False where it was there already.

    Raises:
        InputError: another one was.
    """
    if _create(path, wanted or secrets.token_hex(_NUM_RANDOM_BYTES)):
        return True
    if wanted is not None and path.read_text(encoding="ascii") != wanted:
        variable = _GIVEN_BY[path.name].upper()
        raise InputError(
            f"{variable} is not what this stack was started with: take it out of .env, or run `docker compose down`, "
            "remove the volume `secrets` with `docker volume rm`, and start the stack again"
        )
    return False


def _create(path: Path, text: str) -> bool:
    """Take a name with its whole content, durably; False where it is taken."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".") as file:
        os.fchmod(file.fileno(), FILE_MODE)
        file.write(text.encode("ascii"))
        file.flush()
        os.fsync(file.fileno())
        try:
            os.link(file.name, path)
        except FileExistsError:
            return False
    sync_folder(path.parent)
    return True


def main(folder: Annotated[Path, typer.Argument(help="where the files go; it is there already")]) -> None:
    """Make what is missing of a stack's secrets."""
    try:
        made = make_secrets(folder, GivenSecrets())
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = str(problem["loc"][0]).upper()
            typer.echo(f"error: {name}: {problem['msg'].removeprefix('Value error, ')}", err=True)
        raise typer.Exit(MISUSE) from None
    except PlatoLMError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(MISUSE if isinstance(error, InputError) else FAILURE) from None
    typer.echo(f"made {', '.join(made)}" if made else "all secrets are there")


if __name__ == "__main__":
    typer.run(main)
