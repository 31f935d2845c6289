"""Settings whose secrets may lie in files: a process's environment, and its container's description, then show none."""

from __future__ import annotations

from pathlib import Path

from pydantic import field_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
)


class SecretFileSettings(BaseSettings):
    """Settings that are also looked for in the folder `PLATOLM_SECRETS_DIR`, where that is set.

    A file there has the name of the environment variable, in lower case, and holds its value; the environment counts
    more.

    Raises:
        ValidationError: `PLATOLM_SECRETS_DIR` names no folder.
    """

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        files = SecretsSettingsSource(settings_cls, secrets_dir=secrets_folder())
        return init_settings, env_settings, files


def secrets_folder() -> Path | None:
    """`PLATOLM_SECRETS_DIR`, where that is set.

    Raises:
        ValidationError: it names no folder.
    """
    return _SecretsFolder().secrets_dir


class _SecretsFolder(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="PLATOLM_", env_ignore_empty=True)

    secrets_dir: Path | None = None

    @field_validator("secrets_dir")
    @classmethod
    def _is_folder(cls, folder: Path | None) -> Path | None:
        if folder is not None and not folder.is_dir():
            raise ValueError(f"PLATOLM_SECRETS_DIR names {folder}, which is no folder")
        return folder
