"""Docker Compose as a command: v2, the plugin of `docker`, or version 1."""

from __future__ import annotations

import shutil
import subprocess

from platolm.errors import StackError

_KEY_FILE = "/secrets/api_key"
"""Where the containers of the stack find the key of the API and of both models."""


def compose_command() -> list[str]:
    """`docker compose`, or `docker-compose` where Docker has no such plugin.

    Raises:
        StackError: neither is installed.
    """
    if shutil.which("docker") and _succeeds("docker", "compose", "version"):
        return ["docker", "compose"]
    if shutil.which("docker-compose"):
        return ["docker-compose"]
    raise StackError("there is no Docker Compose here: install Docker with its compose plugin")


def running_key() -> str:
    """The key of the stack that runs in this folder, from the container of its API.

    Raises:
        StackError: there is no Docker Compose, or no such stack runs.
    """
    argv = [*compose_command(), "exec", "-T", "api", "cat", _KEY_FILE]
    result = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if result.returncode:
        raise StackError(
            "no stack answers: give this command in the folder of docker-compose.yml, after `docker compose up -d`",
            log_tail=result.stderr.splitlines()[-5:],
        )
    return result.stdout.strip()


def _succeeds(*argv: str) -> bool:
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=False).returncode == 0
