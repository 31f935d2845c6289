"""Which pages are generated, and by what."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from platolm.stack.demo import REPOSITORY
from reference.formats_page import formats_page
from reference.http_page import http_page
from reference.settings_page import settings_page

DOCS = REPOSITORY / "docs"


def cli_page() -> str:
    """docs/cli.md, which typer makes of the command's own help."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "cli.md"
        command = [sys.executable, "-m", "typer", "platolm.cli.app", "utils", "docs", "--name", "platolm"]
        subprocess.run([*command, "--output", str(path)], check=True, capture_output=True, cwd=REPOSITORY)
        return path.read_text(encoding="utf-8")


PAGES: dict[str, Callable[[], str]] = {
    "cli.md": cli_page,
    "settings.md": settings_page,
    "http-api.md": http_page,
    "formats.md": formats_page,
}
