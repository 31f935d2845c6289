"""What axe-core finds on a page."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe  # type: ignore[import-untyped]
from playwright.sync_api import Page

SERIOUS = frozenset({"serious", "critical"})

OPTIONS = {"resultTypes": ["violations"], "preload": False}
"""With `preload` axe copies style sheets into the page, which the page's policy forbids."""


def serious_violations(page: Page) -> list[str]:
    """A line for each element that breaks a rule of impact serious or critical: the rule, the element, and why."""
    found = Axe().run(page, options=OPTIONS).response["violations"]
    return [
        f"{rule['id']} ({rule['impact']}): {node['html'][:160]}: {node['failureSummary']}"
        for rule in found
        if rule["impact"] in SERIOUS
        for node in rule["nodes"]
    ]
