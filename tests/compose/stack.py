"""The project's Compose stack as a test's own: a project name, free ports and an `.env` that nobody else has."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from platolm.compose.docker import compose_command
from tests.compose.docker import Container, containers_of, docker, output_of, remove_project
from tests.redis_server import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = ("platolm-orchestrator", "platolm-simulator", "platolm-respondent")
TAG = "compose-test"
"""Of the images that the tests build. They stay, so that the next time little is built."""

NEXT_TAG = f"{TAG}-next"
"""Of what an upgrade brings; goes with the stack."""

BUILD_TIMEOUT_S = 1500.0
START_TIMEOUT_S = 420.0
_KEPT_VARIABLES = ("PATH", "HOME", "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", "XDG_RUNTIME_DIR")
"""All that Compose sees of this environment: no setting of the stack comes from it."""

_PIP_VARIABLE = "PIP_EXTRA_INDEX_URL"
"""But this one: which build of torch comes is decided by it."""


@dataclass
class ComposeStack:
    """One stack; its `.env`, its seeds and its logs lie in `folder`."""

    project: str
    folder: Path
    settings: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.seeds.mkdir(parents=True, exist_ok=True)
        self.seeds.chmod(0o755)
        ports = {name: str(free_port()) for name in ("API_PORT", "SIMULATOR_PORT", "RESPONDENT_PORT")}
        built = {_PIP_VARIABLE: os.environ[_PIP_VARIABLE]} if _PIP_VARIABLE in os.environ else {}
        self.configure(PLATOLM_TAG=TAG, SEEDS_DIR=str(self.seeds), **ports, **built)

    @property
    def seeds(self) -> Path:
        """The folder that the command's container sees as /seeds."""
        return self.folder / "seeds"

    def configure(self, **settings: str) -> None:
        """Set variables of the stack; they hold from the next command on."""
        self.settings.update(settings)
        self._write_settings()

    def forget(self, *names: str) -> None:
        """Leave variables of the stack to their defaults again."""
        for name in names:
            del self.settings[name]
        self._write_settings()

    def _write_settings(self) -> None:
        lines = [f"{name}={value}\n" for name, value in self.settings.items()]
        (self.folder / ".env").write_text("".join(lines))

    def url(self, port: str) -> str:
        """Address of what `API_PORT`, `SIMULATOR_PORT` or `RESPONDENT_PORT` publishes."""
        return f"http://127.0.0.1:{self.settings[port]}"

    def argv(self, *arguments: str) -> list[str]:
        """A Compose command on this stack."""
        here = ["--project-directory", str(REPOSITORY), "--file", str(REPOSITORY / "docker-compose.yml")]
        mine = ["--project-name", self.project, "--env-file", str(self.folder / ".env")]
        return [*compose_command(), *here, *mine, *arguments]

    def build(self) -> None:
        """Build the images; services that share one need it once."""
        self.compose("build", "api", "simulator", "respondent", timeout_s=BUILD_TIMEOUT_S)

    def compose(self, *arguments: str, timeout_s: float = 120.0, check: bool = True) -> str:
        """A Compose command's output.

        Raises:
            AssertionError: it failed.
        """
        return output_of(self.argv(*arguments), timeout_s=timeout_s, check=check, env=environment())

    def cli(self, *arguments: str, timeout_s: float = 120.0) -> str:
        """What the command's container prints."""
        return self.compose("run", "--rm", "-T", "cli", *arguments, timeout_s=timeout_s)

    def start_cli(self, *arguments: str, log: Path) -> subprocess.Popen[bytes]:
        """The command's container beside what follows; what it prints is in `log`."""
        argv = self.argv("run", "--rm", "-T", "cli", *arguments)
        with log.open("wb") as file:
            return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment())

    def up(self, *, simulators: int) -> None:
        """Bring it up, or to so many simulators, and wait until all of it is healthy."""
        self.compose("up", "--detach", "--scale", f"simulator={simulators}", timeout_s=START_TIMEOUT_S)
        try:
            wait_until(lambda: self._is_up(simulators), what="a healthy stack", timeout_s=START_TIMEOUT_S)
        except AssertionError as error:
            raise AssertionError(f"{error}: {self.states()}") from None

    def containers(self, service: str | None = None) -> list[Container]:
        return containers_of(self.project, service)

    def healthy(self, service: str) -> list[Container]:
        return [one for one in self.containers(service) if one.health == "healthy" and one.status == "running"]

    def states(self) -> dict[str, str]:
        """Every container's state, by its name."""
        return {one.name: f"{one.status} {one.health or ''}".strip() for one in self.containers()}

    def _is_up(self, simulators: int) -> bool:
        all_settled = all(one.is_settled for one in self.containers())
        return all_settled and len(self.healthy("simulator")) == simulators

    def key(self) -> str:
        """The stack's API key, as a person asks for it."""
        env = environment() | {"COMPOSE_PROJECT_NAME": self.project, "PYTHONPATH": str(REPOSITORY)}
        done = subprocess.run(
            [sys.executable, "-m", "platolm", "compose", "key"],
            cwd=REPOSITORY, env=env, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip
        return done.stdout.strip()

    def api(self) -> httpx.Client:
        """A client of the API with the key."""
        headers = {"authorization": f"Bearer {self.key()}"}
        return httpx.Client(base_url=self.url("API_PORT"), headers=headers, timeout=30, trust_env=False)

    def save_logs(self, folder: Path) -> None:
        """Every container's log as a file."""
        folder.mkdir(parents=True, exist_ok=True)
        for container in self.containers():
            with (folder / f"{container.name}.log").open("wb") as file:
                argv = ["docker", "logs", "--timestamps", container.id]
                subprocess.run(argv, stdout=file, stderr=subprocess.STDOUT, timeout=60, check=False)

    def remove(self) -> None:
        """Take everything away, volumes too; only the images that were built stay."""
        self.compose("down", "--volumes", "--remove-orphans", timeout_s=300, check=False)
        remove_project(self.project)
        for image in IMAGES:
            docker("image", "rm", "--no-prune", f"{image}:{NEXT_TAG}", check=False)


def environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}


def build_next_images() -> None:
    """The same images under another tag and id, as an upgrade brings them."""
    for image in IMAGES:
        dockerfile = f"FROM {image}:{TAG}\nLABEL org.platolm.test=next\n"
        argv = ["docker", "build", "--quiet", "--tag", f"{image}:{NEXT_TAG}", "-"]
        subprocess.run(argv, input=dockerfile, text=True, check=True, capture_output=True, timeout=300)


def in_container(container: Container, *arguments: str) -> str:
    """The output of a command in a container."""
    return docker("exec", container.id, *arguments)


def wait_until(condition: Callable[[], Any], *, what: str, timeout_s: float) -> None:
    """Poll until `condition()` holds; while nothing answers, it does not.

    Raises:
        AssertionError: it does not hold in time.
    """
    deadline = time.monotonic() + timeout_s
    while not _holds(condition):
        assert time.monotonic() < deadline, f"not within {timeout_s:.0f} s: {what}"
        time.sleep(0.5)


def _holds(condition: Callable[[], Any]) -> bool:
    try:
        return bool(condition())
    except httpx.HTTPError:
        return False
