"""A command line made from a settings class: one flag a field, its environment variable and default in `--help`."""

from __future__ import annotations

import argparse
import sys
from typing import Any, TypeVar

from pydantic import SecretStr, ValidationError
from pydantic.fields import FieldInfo

from services.gateway.errors import MISUSE
from services.gateway.server import run
from services.gateway.settings import GatewaySettings
from services.logs import configure_logs

S = TypeVar("S", bound=GatewaySettings)


def main(kind: type[GatewaySettings], *, prog: str, about: str, examples: str, argv: list[str] | None = None) -> int:
    """Entry point of a model server; the process's exit code."""
    try:
        settings = settings_from(
            kind, sys.argv[1:] if argv is None else argv, prog=prog, about=about, examples=examples
        )
    except ValidationError as error:
        for problem in error.errors(include_url=False, include_input=False):
            name = ".".join(str(part) for part in problem["loc"])
            message = problem["msg"].removeprefix("Value error, ")
            where = f"{flag_of(name)} ({env_of(kind, name)}): " if name in kind.model_fields else ""
            print(f"error: {where}{message}", file=sys.stderr)
        return MISUSE
    configure_logs(settings.log_level, service=prog.rpartition(".")[2])
    return run(settings)


def settings_from(kind: type[S], argv: list[str], *, prog: str, about: str, examples: str) -> S:
    """Settings from flags over the environment over defaults.

    Raises:
        ValidationError: a value cannot be used.
        SystemExit: after `--help` (0), or for an unknown flag (2).
    """
    given = vars(_parser(kind, prog, about, examples).parse_args(argv))
    return kind(**{name: value for name, value in given.items() if value is not None})


def flag_of(name: str) -> str:
    return "--" + name.replace("_", "-")


def env_of(kind: type[GatewaySettings], name: str) -> str:
    return str(kind.model_config.get("env_prefix", "")) + name.upper()


def _parser(kind: type[GatewaySettings], prog: str, about: str, examples: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m {prog}",
        description=about,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for name, field in kind.model_fields.items():
        parser.add_argument(
            flag_of(name), dest=name, metavar=name.rpartition("_")[2].upper(), help=_help(kind, name, field)
        )
    return parser


def _help(kind: type[GatewaySettings], name: str, field: FieldInfo) -> str:
    default: Any = None if field.default_factory is not None else field.default
    shown = "" if default is None or default == "" or isinstance(default, SecretStr) else f" (default: {default})"
    return f"{field.description}{shown} [{env_of(kind, name)}]".replace("%", "%%")
