"""Grafana's provisioning and dashboards: valid, readable, and asking for what there is."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from tests.observability.catalogue import every_series
from tests.observability.deployed import (
    CONFIG_FILE,
    DASHBOARD_FILES,
    DEPLOY,
    GRAFANA,
    Asked,
    dashboard,
    dashboard_expressions,
    load_yaml,
    panels,
    plain,
    variable_expressions,
    variables_used,
)
from tests.observability.promql import result_labels

COMPOSE_FILE = DEPLOY.parent / "docker-compose.yml"
GUIDE = DEPLOY.parent / "docs" / "observability.md"
UNITS = {"short", "none", "percentunit", "s", "bytes", "Bps", "reqps"}
UNIT_PREFIX = "count:"
"""What follows it is shown after the number."""
COLUMNS = 24

each_dashboard = pytest.mark.parametrize("path", DASHBOARD_FILES, ids=lambda path: path.stem)


def data_source() -> dict[str, Any]:
    [source] = load_yaml(GRAFANA / "provisioning" / "datasources" / "prometheus.yml")["datasources"]
    assert isinstance(source, dict)
    return source


def charts(path: Path) -> list[dict[str, Any]]:
    """Its panels, rows aside."""
    return [panel for panel in panels(dashboard(path)) if panel["type"] != "row"]


def overlap(first: dict[str, int], second: dict[str, int]) -> bool:
    return (
        first["x"] < second["x"] + second["w"]
        and second["x"] < first["x"] + first["w"]
        and first["y"] < second["y"] + second["h"]
        and second["y"] < first["y"] + first["h"]
    )


def test_the_three_dashboards_can_be_told_apart() -> None:
    boards = [dashboard(path) for path in DASHBOARD_FILES]
    assert [board["uid"] for board in boards] == ["platolm-cache", "platolm-engines", "platolm-runs"]
    assert len({board["title"] for board in boards}) == 3
    assert all(board["description"] for board in boards)


def test_rates_reach_over_several_scrapes() -> None:
    scraped_every = load_yaml(CONFIG_FILE)["global"]["scrape_interval"]
    assert data_source()["jsonData"]["timeInterval"] == scraped_every


def test_compose_puts_the_files_where_grafana_looks() -> None:
    [provider] = load_yaml(GRAFANA / "provisioning" / "dashboards" / "platolm.yml")["providers"]
    assert set(load_yaml(COMPOSE_FILE)["services"]["grafana"]["volumes"]) >= {
        "./deploy/grafana/provisioning:/etc/grafana/provisioning:ro",
        f"./deploy/grafana/dashboards:{provider['options']['path']}:ro",
    }


def test_grafana_asks_the_prometheus_of_the_stack() -> None:
    assert "prometheus" in load_yaml(COMPOSE_FILE)["services"]
    assert data_source()["url"] == "http://prometheus:9090"


@each_dashboard
def test_panels_have_ids_titles_and_descriptions(path: Path) -> None:
    found = list(panels(dashboard(path)))
    assert len({panel["id"] for panel in found}) == len(found)
    assert all(panel["title"].strip() for panel in found)
    assert all(panel["description"].strip() for panel in charts(path))
    assert all(link["title"].strip() for link in dashboard(path)["links"])


@each_dashboard
def test_panels_of_a_row_have_titles_of_their_own(path: Path) -> None:
    row, seen = "", set()
    for panel in panels(dashboard(path)):
        row = panel["title"] if panel["type"] == "row" else row
        assert (row, panel["title"], panel["type"]) not in seen
        seen.add((row, panel["title"], panel["type"]))


@each_dashboard
def test_panels_have_units(path: Path) -> None:
    units = {panel["title"]: panel["fieldConfig"]["defaults"]["unit"] for panel in charts(path)}
    assert {
        title: unit for title, unit in units.items() if unit not in UNITS and not unit.startswith(UNIT_PREFIX)
    } == {}
    assert all(unit.removeprefix(UNIT_PREFIX) for unit in units.values())


@each_dashboard
def test_all_data_come_from_the_provisioned_source(path: Path) -> None:
    source = data_source()
    expected = {"type": source["type"], "uid": source["uid"]}
    asking = [*charts(path), *dashboard(path)["templating"]["list"]]
    targets = [target for panel in charts(path) for target in panel["targets"]]
    assert [found for found in (*asking, *targets) if found["datasource"] != expected] == []


@each_dashboard
def test_a_panel_asks_under_names_of_its_own(path: Path) -> None:
    for panel in charts(path):
        names = [target["refId"] for target in panel["targets"]]
        assert names, panel["title"]
        assert len(set(names)) == len(names), panel["title"]


@each_dashboard
def test_panels_lie_beside_one_another(path: Path) -> None:
    places = [panel["gridPos"] for panel in panels(dashboard(path))]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= COLUMNS and place["h"] > 0 for place in places)
    assert [pair for pair in itertools.combinations(places, 2) if overlap(*pair)] == []


@each_dashboard
def test_what_is_offered_is_used_and_what_is_used_is_offered(path: Path) -> None:
    offered = {variable["name"] for variable in dashboard(path)["templating"]["list"]}
    assert offered == variables_used(path)


@pytest.mark.parametrize(
    "asked",
    [asked for path in DASHBOARD_FILES for asked in (*dashboard_expressions(path), *variable_expressions(path))],
    ids=lambda asked: asked.place,
)
def test_a_panel_asks_for_what_there_is(asked: Asked) -> None:
    assert asked.named <= result_labels(plain(asked.text), every_series())


def test_the_guide_says_what_each_dashboard_answers() -> None:
    section = GUIDE.read_text(encoding="utf-8").partition("\n## Dashboards\n")[2].partition("\n## ")[0]
    for path in DASHBOARD_FILES:
        assert f"**{dashboard(path)['title'].removeprefix('PlatoLM: ').capitalize()}**" in section
