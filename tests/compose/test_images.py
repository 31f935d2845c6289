"""The images as they are built: their sizes, their user, and nothing in them of what the build knew."""

from __future__ import annotations

import json
import os

import pytest

from tests.compose.conftest import BUILD_SECRETS
from tests.compose.docker import docker, inspect_image
from tests.compose.stack import BUILD_TIMEOUT_S, IMAGES, TAG, ComposeStack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(BUILD_TIMEOUT_S + 60)]

BASE_IMAGE = "python:3.11-slim-bookworm"
MAX_ORCHESTRATOR_BYTES = 350_000_000
"""What the orchestrator's image may add to its base."""

FIND_SECRETS = "find / -xdev -name .env -o -path '/secrets/*' -o -name 'pip.conf' -path '/opt/*'"


def size_of(image: str) -> int:
    size: int = inspect_image(image)["Size"]
    return size


def base_size() -> int:
    """Size of the base in bytes; a builder with a store of its own has not put it among the engine's images."""
    if not docker("image", "ls", "--quiet", BASE_IMAGE).strip():
        docker("pull", "--quiet", BASE_IMAGE, timeout_s=300)
    return size_of(BASE_IMAGE)


def test_sizes(built: ComposeStack, capsys: pytest.CaptureFixture[str]) -> None:
    sizes = {image: size_of(f"{image}:{TAG}") for image in IMAGES}
    added = sizes["platolm-orchestrator"] - base_size()
    with capsys.disabled():
        for image, size in sizes.items():
            print(f"\n{image}: {size / 1e6:,.0f} MB", end="")
        print(f"\nplatolm-orchestrator adds {added / 1e6:,.0f} MB to {BASE_IMAGE}")
    assert added <= MAX_ORCHESTRATOR_BYTES


@pytest.mark.parametrize("image", IMAGES)
def test_no_secret_of_the_build_is_in_an_image(built: ComposeStack, image: str) -> None:
    history = docker("history", "--no-trunc", "--format", "{{json .}}", f"{image}:{TAG}")
    described = history + json.dumps(inspect_image(f"{image}:{TAG}"))
    known = [*BUILD_SECRETS.values(), *filter(None, [os.environ.get("PIP_EXTRA_INDEX_URL")])]
    assert [secret for secret in known if secret in described] == []
    argv = ["run", "--rm", "--network", "none", "--user", "0", "--entrypoint", "sh", f"{image}:{TAG}", "-c"]
    assert docker(*argv, FIND_SECRETS, timeout_s=120) == ""


@pytest.mark.parametrize("image", IMAGES)
def test_nobody_is_root(built: ComposeStack, image: str) -> None:
    user = inspect_image(f"{image}:{TAG}")["Config"]["User"]
    assert user.partition(":")[0] not in ("", "0", "root")
