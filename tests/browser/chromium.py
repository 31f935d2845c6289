"""Debian's Chromium, a context for each test, and what a page does that it should not.

Playwright's event loop runs in the thread that opened it for as long as it is open, so no coroutine test can run
meanwhile: `chromium` is entered for a folder or module of tests without such, and left after it.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import urlsplit

from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Dialog, Page, Request, expect, sync_playwright

WIDE, NARROW = 1440, 380
HEIGHT = {WIDE: 900, NARROW: 800}
PATIENCE_MS = 15_000
"""For what a page shall come to show; two cores run everything that it waits for."""

Theme = Literal["light", "dark"]

_ARGUMENTS = [
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
]
_TELL_VIOLATIONS = """
addEventListener("securitypolicyviolation", (event) =>
  console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI || event.sourceFile}`));
"""


def chromium_path() -> str | None:
    """The system's Chromium, if there is one."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser while entered."""
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium_path(), args=_ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """A context's pages, and everything about them that must not be.

    `faults` holds errors of the console, uncaught ones, broken policies, dialogs that a script opened, and requests to
    anywhere but the dashboard.
    """

    context: BrowserContext
    url: str
    faults: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.context.add_init_script(_TELL_VIOLATIONS)
        self.context.on("console", self._on_console)
        self.context.on("weberror", lambda error: self.faults.append(f"uncaught: {error.error}"))
        self.context.on("request", self._on_request)
        self.context.on("page", lambda page: page.on("dialog", self._on_dialog))

    def open(self, path: str = "/") -> Page:
        """A new tab at a path of the dashboard."""
        page = self.context.new_page()
        page.goto(f"{self.url}{path}", wait_until="load")
        return page

    def forgive(self, *parts: str) -> None:
        """Forget the faults that a test brings about, by a part of their text."""
        self.faults[:] = [fault for fault in self.faults if not any(part in fault for part in parts)]

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(f"console: {message.text} ({message.location.get('url', '')})")

    def _on_request(self, request: Request) -> None:
        if urlsplit(request.url).scheme in ("data", "blob", "about"):
            return
        if not request.url.startswith(f"{self.url}/"):
            self.faults.append(f"request to {request.url}")

    def _on_dialog(self, dialog: Dialog) -> None:
        self.faults.append(f"dialog: {dialog.message}")
        dialog.dismiss()


@contextmanager
def watched(browser: Browser, url: str, *, width: int = WIDE, theme: Theme = "light") -> Iterator[Watched]:
    """A context of its own while entered, with its own cookies and storage."""
    viewport = {"width": width, "height": HEIGHT[width]}
    context = browser.new_context(
        viewport=viewport,  # type: ignore[arg-type]
        color_scheme=theme,
        locale="en-GB",
        timezone_id="Europe/Berlin",
        reduced_motion="reduce",
        permissions=["clipboard-read", "clipboard-write"],
    )
    context.set_default_timeout(PATIENCE_MS)
    try:
        yield Watched(context, url)
    finally:
        context.close()
