"""One stack for all tests of this folder: built, up with two simulators, taken down with everything it made."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import Iterator

import pytest

from tests.compose.docker import why_no_engine
from tests.compose.stack import REPOSITORY, ComposeStack

WANTED = "PLATOLM_TEST_COMPOSE"
LOGS = REPOSITORY / "build" / "test-compose"
BUILD_SECRETS = {
    name: f"a-marked-{secrets.token_hex(12)}" for name in ("PLATOLM_API_KEY", "REDIS_PASSWORD", "HF_TOKEN")
}
"""What stands in `.env` while the images are built, and may be in none of them."""


def why_not() -> str | None:
    if not os.environ.get(WANTED):
        return "builds images and takes up to 25 minutes: `make test-compose` runs it"
    return why_no_engine()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> ComposeStack:
    """A stack whose images are built; nothing of it runs yet."""
    reason = why_not()
    if reason is not None:
        pytest.skip(reason)
    stack = ComposeStack(f"platolm-test-{secrets.token_hex(4)}", tmp_path_factory.mktemp("compose"))
    stack.folder.chmod(0o755)
    stack.configure(**BUILD_SECRETS)
    stack.build()
    stack.forget(*BUILD_SECRETS)
    return stack


@pytest.fixture(scope="session")
def stack(built: ComposeStack, request: pytest.FixtureRequest) -> Iterator[ComposeStack]:
    """The stack up, with two simulators."""
    began_with = request.session.testsfailed
    try:
        built.up(simulators=2)
        yield built
    finally:
        if request.session.testsfailed > began_with or sys.exc_info()[0] is not None:
            built.save_logs(LOGS)
            print(f"the containers' logs are in {LOGS}", file=sys.stderr)
        built.remove()
