"""A service that stands in several Compose files, put together by Compose's rules for overrides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Service = dict[str, Any]

_REPLACED = frozenset({"command", "entrypoint", "test"})
"""Lists that a later file replaces; all others grow."""

_ASSIGNMENTS = frozenset({"environment", "labels", "args"})
"""Written as a map, or as a list of `NAME=value`."""

_NAMES: Mapping[str, Any] = {"networks": None, "depends_on": {"condition": "service_started"}}
"""Written as a map, or as a list of names; with what a bare name stands for."""


def merge_services(base: Service, override: Service) -> Service:
    """One service: maps key by key, lists one after the other, everything else as the override says."""
    merged = dict(base)
    for key, value in override.items():
        merged[key] = _merged(key, merged[key], value) if key in merged else value
    return merged


def as_map(key: str, value: Any) -> dict[str, Any]:
    """The map form of a field that may be written as a list; `{}` for a field that is not there."""
    if isinstance(value, list):
        if key in _ASSIGNMENTS:
            return {name: text if equals else None for name, equals, text in (str(v).partition("=") for v in value)}
        return {str(name): _NAMES[key] for name in value}
    return dict(value or {})


def _merged(key: str, base: Any, override: Any) -> Any:
    if key in _ASSIGNMENTS or key in _NAMES:
        base, override = as_map(key, base), as_map(key, override)
    if isinstance(base, dict) and isinstance(override, dict):
        return merge_services(base, override)
    if isinstance(base, list) and isinstance(override, list) and key not in _REPLACED:
        return base + [value for value in override if value not in base]
    return override
