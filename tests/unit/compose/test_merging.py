"""Services of several Compose files, put together as Compose does."""

from __future__ import annotations

from typing import Any

import pytest

from platolm.compose.merging import as_map, merge_services


@pytest.mark.parametrize(
    ("base", "override", "merged"),
    [
        ({"image": "a", "init": True}, {"image": "b"}, {"image": "b", "init": True}),
        ({"environment": {"A": 1, "B": 2}}, {"environment": {"B": 3}}, {"environment": {"A": 1, "B": 3}}),
        ({"environment": ["A=1", "B"]}, {"environment": {"C": "x=y"}},
         {"environment": {"A": "1", "B": None, "C": "x=y"}}),
        ({"volumes": ["a:/a"]}, {"volumes": ["b:/b", "a:/a"]}, {"volumes": ["a:/a", "b:/b"]}),
        ({"networks": ["inside"]}, {"networks": {"outside": {"priority": 1}}},
         {"networks": {"inside": None, "outside": {"priority": 1}}}),
        ({"depends_on": ["redis"]}, {"depends_on": {"api": {"condition": "service_healthy"}}},
         {"depends_on": {"redis": {"condition": "service_started"}, "api": {"condition": "service_healthy"}}}),
        ({"command": ["a", "b"]}, {"command": ["c"]}, {"command": ["c"]}),
        ({"healthcheck": {"test": ["CMD", "a"], "retries": 3}}, {"healthcheck": {"test": ["CMD", "b"]}},
         {"healthcheck": {"test": ["CMD", "b"], "retries": 3}}),
        ({"build": {"context": ".", "args": ["A=1"]}}, {"build": {"args": {"A": "2"}}},
         {"build": {"context": ".", "args": {"A": "2"}}}),
        ({"deploy": {"resources": {"limits": {"cpus": "1"}}}}, {"deploy": {"resources": {"limits": {"memory": "1g"}}}},
         {"deploy": {"resources": {"limits": {"cpus": "1", "memory": "1g"}}}}),
    ],
)  # fmt: skip
def test_an_override(base: dict[str, Any], override: dict[str, Any], merged: dict[str, Any]) -> None:
    assert merge_services(base, override) == merged


def test_nothing_of_the_base_is_changed() -> None:
    base = {"environment": {"A": "1"}, "volumes": ["a:/a"]}
    merge_services(base, {"environment": {"B": "2"}, "volumes": ["b:/b"]})
    assert base == {"environment": {"A": "1"}, "volumes": ["a:/a"]}


def test_a_field_that_is_not_there_is_an_empty_map() -> None:
    assert as_map("networks", None) == {}
