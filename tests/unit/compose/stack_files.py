"""The Compose files as Compose reads them where no variable is set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[3]
COMPOSE_FILES = ("docker-compose.yml", "docker-compose.gpu.yml", "docker-compose.shared.yml")
ONE_SHOT = frozenset({"secrets", "cli", "train"})
"""Services that end by themselves; the others are there to stay."""

VARIABLE = re.compile(r"(?<!\$)\$\{([A-Za-z_]+)(?::-([^}]*))?\}")
"""`${NAME}` or `${NAME:-default}`, and not `$${NAME}`, which the container's shell reads."""

_UNITS_S = {"s": 1, "m": 60, "h": 3600}

Service = dict[str, Any]


def compose_text(name: str) -> str:
    """A Compose file as it is written."""
    return (REPOSITORY / name).read_text(encoding="utf-8")


def compose_file(name: str = COMPOSE_FILES[0]) -> dict[str, Any]:
    """A Compose file with every variable at its default."""
    content: dict[str, Any] = yaml.safe_load(VARIABLE.sub(lambda found: found[2] or "", compose_text(name)))
    return content


def services(name: str = COMPOSE_FILES[0]) -> dict[str, Service]:
    """Its services by name."""
    found: dict[str, Service] = compose_file(name)["services"]
    return found


def lasting_services() -> list[str]:
    """Names of the services that are there to stay."""
    return sorted(set(services()) - ONE_SHOT)


def seconds(duration: str) -> float:
    """`75s`, `10m` in seconds.

    Raises:
        KeyError: a unit that none of the files uses.
    """
    return float(duration[:-1]) * _UNITS_S[duration[-1]]
