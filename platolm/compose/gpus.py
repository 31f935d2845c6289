"""The override that gives each engine a GPU of its own.

`--scale` cannot do that: all replicas of a service get the same device reservation (docker/compose#11863). So each
engine becomes a service with `device_ids`, and is found under its side's name through a network alias. What such a
service is otherwise is taken from the Compose files themselves.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from platolm.compose.merging import Service, as_map, merge_services
from platolm.compose.placing import RESPONDENT, SIMULATOR, PlacedEngine
from platolm.errors import InputError, OccupiedError
from platolm.plain_yaml import dump_yaml
from platolm.storage import write_atomically

COMPOSE_FILES = ("docker-compose.yml", "docker-compose.gpu.yml")
"""What the override stands on, in the order of `docker compose -f`."""

SHARED_FILES = (*COMPOSE_FILES, "docker-compose.shared.yml")
"""The same where each engine serves both sides."""

DEFAULT_OUT = "docker-compose.gpus.yml"

_MARK = "# Written by `platolm compose gpus"
_NOT_OF_ONE = ("scale", "container_name", "ports", "profiles")
"""What holds for a service as a whole, not for one of its engines."""


def gpus_override(
    folder: Path, engines: Sequence[PlacedEngine], *, command: str, out: Path, names: Sequence[str] = COMPOSE_FILES
) -> str:
    """The override's text. A side without an engine stays the service that it is.

    Args:
        folder: holds the Compose files.
        command: with which it was asked for; stands in the first line.
        out: where the text will lie; named in the line that starts the stack.
        names: the Compose files that the override stands on.

    Raises:
        InputError: a Compose file is missing, cannot be read, or does not have the services.
    """
    files = {name: _read(folder / name) for name in names}
    sides = {engine.side: _service(files, engine.side) for engine in engines}
    services: dict[str, Service] = {side: {"scale": 0} for side in sides}
    for position, engine in enumerate(engines):
        neighbours = [other.service for other in engines[:position] if other.gpu == engine.gpu]
        services[engine.service] = _engine_service(sides[engine.side], engine, neighbours)
    return _head(engines, command, up_command(out, names), names) + dump_yaml("services", services)


def write_override(path: Path, text: str) -> None:
    """Put the file in place, over one that this command wrote before.

    Raises:
        OccupiedError: the file is somebody else's.
        OutputError: it cannot be written.
    """
    if path.exists() and not _is_ours(path):
        raise OccupiedError(f"{path} was not written by this command: remove it, or name another with --out")
    write_atomically(path, text.encode())


def up_command(out: Path, names: Sequence[str] = COMPOSE_FILES) -> str:
    """The line that starts the stack with the override."""
    return " ".join(["docker compose", *(f"-f {name}" for name in (*names, out)), "up -d"])


def compose_file_line(out: Path, names: Sequence[str] = COMPOSE_FILES) -> str:
    """The line of `.env` with which every `docker compose` command uses the override."""
    return f"COMPOSE_FILE={':'.join((*names, str(out)))}"


def _head(engines: Sequence[PlacedEngine], command: str, start: str, names: Sequence[str]) -> str:
    lines = [
        f"{_MARK}{command.removeprefix('platolm compose gpus')}`.",
        f"# Give that command again, rather than change this file, also when {' or '.join(names)} has changed.",
        f"# To start: {start}",
        *(f"# {engine.service}: GPU {engine.gpu}, {engine.memory:.2f} of its memory" for engine in engines),
    ]
    return "\n".join(lines) + "\n"


def _engine_service(side: Service, engine: PlacedEngine, neighbours: Sequence[str]) -> Service:
    """The side's service for one engine alone.

    Neighbours on its card come up before it: an engine measures the free memory while it starts.
    """
    service = {key: value for key, value in _unshared(side).items() if key not in _NOT_OF_ONE}
    memory = {f"PLATOLM_{engine.side.upper()}_GPU_MEMORY_UTILIZATION": f"{engine.memory:.2f}"}
    service["environment"] = as_map("environment", service.get("environment")) | memory
    service["networks"] = _with_alias(as_map("networks", service.get("networks")), engine.side)
    before = as_map("depends_on", service.get("depends_on"))
    before = {name: how for name, how in before.items() if name not in (SIMULATOR, RESPONDENT)}
    service["depends_on"] = before | {name: {"condition": "service_healthy"} for name in neighbours}
    deploy = service.setdefault("deploy", {})
    deploy.pop("replicas", None)
    device = {"driver": "nvidia", "device_ids": [engine.gpu], "capabilities": ["gpu"]}
    deploy.setdefault("resources", {}).setdefault("reservations", {})["devices"] = [device]
    return {key: value for key, value in service.items() if value != {}}


def _with_alias(networks: dict[str, Any], alias: str) -> dict[str, Any]:
    """The same networks; on each of them the service is found under `alias` too."""
    named = networks or {"default": None}
    return {name: {**(how or {}), "aliases": [*(how or {}).get("aliases", []), alias]} for name, how in named.items()}


def _unshared(service: Service) -> Service:
    """A copy in which nothing is shared: what YAML anchors share would be written as anchors again."""
    copied: Service = json.loads(json.dumps(service))
    return copied


def _service(files: Mapping[str, dict[str, Any]], name: str) -> Service:
    merged: Service = {}
    for content in files.values():
        merged = merge_services(merged, (content.get("services") or {}).get(name) or {})
    if not merged:
        raise InputError(f"{' and '.join(files)} have no service {name}: use those that came with the project")
    return merged


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{path} is not there: give this command in the project's folder, beside it") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise InputError(f"{path} is no Compose file: use the one that came with the project")
    return content


def _is_ours(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(_MARK)) == _MARK.encode()
    except OSError:
        return False
