"""docs/settings.md: every setting of every process, from the classes that declare them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings

from platolm.cli.app import app
from platolm.stack.settings import LocalStackSettings
from reference.markdown import code, one_line, page, table
from reference.schemas import Schema, bounds_of, kind_of
from services.orchestrator.secrets import GivenSecrets
from services.orchestrator.settings import ApiSettings, WorkerSettings
from services.orchestrator.writer_settings import WriterSettings
from services.respondent.settings import RespondentSettings
from services.simulator.settings import SimulatorSettings

PROCESSES: dict[type[BaseSettings], tuple[str, str]] = {
    LocalStackSettings: ("The stack on one machine", "platolm up"),
    SimulatorSettings: ("Simulator", "python -m services.simulator"),
    RespondentSettings: ("Respondent", "python -m services.respondent"),
    ApiSettings: ("API", "python -m services.orchestrator.app"),
    WriterSettings: ("Dataset writer", "python -m services.orchestrator.writer"),
    WorkerSettings: ("Worker", "python -m services.orchestrator.worker"),
    GivenSecrets: ("Secrets of containers", "python -m services.orchestrator.secrets"),
}
"""Every process with settings: its heading, and what starts it."""

SECRETS_FOLDER = "PLATOLM_SECRETS_DIR"

MEANINGS = {
    "host": "address to listen on; without keys only loopback is allowed",
    "port": "port to listen on",
    "data_dir": "folder of runs and their datasets",
    "respondent_urls": "the same of the respondent",
    "respondent_tokenizer": "the same of the respondent",
    "respondent_model": "the same of the respondent",
    "request_timeout_s": "longest time that one utterance may take",
    "poll_interval_s": "between two looks for work where there was none",
    "health_host": "address of `/healthz`, `/readyz` and `/metrics`",
    "log_level": "`DEBUG`, `INFO`, `WARNING` or `ERROR`",
    "platolm_api_key": "key of the API and of both model servers; default: made at random",
    "redis_password": "Redis's password; default: made at random",
    "grafana_password": "of Grafana's user `admin`; default: made at random",
}
"""What a field means whose class does not say so."""

ABOUT = f"""\
Each process reads its settings from the environment, under a prefix of its own; model servers and `platolm up` take
them as flags too, which count more. Lists are separated by commas. A secret may lie in a file instead: in the folder
that `{SECRETS_FOLDER}` names, under the variable's name in lower case. A wrong value ends the process at its start,
with the variable's name and what is wrong.

What a *run* is asked for is in its spec: [formats](formats.md#run-spec). What Compose passes on is in
[`.env.example`](../.env.example)."""


def settings_page() -> str:
    """The whole page."""
    sections = [_process(kind, title, command) for kind, (title, command) in PROCESSES.items()]
    return page("Settings", ABOUT, *sections, _command())


def setting_rows(kind: type[BaseSettings]) -> Iterator[tuple[str, str, str, str]]:
    """Variable, kind with bounds, default, meaning of each setting of a process."""
    schema = kind.model_json_schema()
    for name, field in kind.model_fields.items():
        described: Schema = schema["properties"][name]
        kinds = ", ".join(part for part in (_kind(described), bounds_of(described)) if part)
        meaning = field.description or MEANINGS.get(name, "")
        yield code(variable_of(kind, name)), kinds, _default(field), one_line(meaning)


def variable_of(kind: type[BaseSettings], field: str) -> str:
    """The environment variable of a field."""
    return f"{kind.model_config.get('env_prefix', '')}{field}".upper()


def command_variables() -> dict[str, set[str]]:
    """Environment variables that options of `platolm` are read from, each with the commands that have it."""
    found: dict[str, set[str]] = {}
    waiting: list[tuple[str, Any]] = [("platolm", typer.main.get_command(app))]
    while waiting:
        path, command = waiting.pop()
        waiting += [(f"{path} {name}", inner) for name, inner in getattr(command, "commands", {}).items()]
        for parameter in command.params:
            if isinstance(parameter.envvar, str):
                found.setdefault(parameter.envvar, set()).add(path)
    return found


def _process(kind: type[BaseSettings], title: str, command: str) -> str:
    rows = table(["variable", "kind", "default", "meaning"], setting_rows(kind))
    return f"## {title}\n\n`{command}`\n\n{rows}"


def _command() -> str:
    rows = [(code(name), _used_by(paths)) for name, paths in sorted(command_variables().items())]
    about = "Options of `platolm` that are better not typed, or that stay the same:"
    return f"## The command\n\n{about}\n\n{table(['variable', 'of'], rows)}"


def _used_by(paths: set[str]) -> str:
    groups = {" ".join(path.split()[:2]) for path in paths}
    return ", ".join(code(group) for group in sorted(groups))


def _kind(schema: Schema) -> str:
    kinds = kind_of(schema).removesuffix(" or null")
    return "list" if kinds.startswith("list of") else kinds


def _default(field: FieldInfo) -> str:
    value = field.default
    if field.default_factory is not None or value is PydanticUndefined or value is None:
        return ""
    if isinstance(value, list):
        value = ",".join(map(str, value))
    return code(str(value).lower() if isinstance(value, bool) else str(value))
