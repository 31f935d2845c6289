"""Docker as tests ask it: its containers and images, read from `docker inspect`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

PROJECT_LABEL = "com.docker.compose.project"
SERVICE_LABEL = "com.docker.compose.service"
ONE_OFF_LABEL = "com.docker.compose.oneoff"


@dataclass(frozen=True)
class Container:
    """One container as it is now; `health` is None where it has no check, `published` is `(address, port)`."""

    id: str
    name: str
    service: str
    image: str
    status: str
    health: str | None
    exit_code: int
    user: str
    published: frozenset[tuple[str, int]]

    @property
    def is_settled(self) -> bool:
        """Healthy, running without a check, or ended well."""
        if self.status == "running":
            return self.health in (None, "healthy")
        return self.status == "exited" and self.exit_code == 0


def docker(*arguments: str, timeout_s: float = 60.0, check: bool = True) -> str:
    """A docker command's output.

    Raises:
        AssertionError: it failed; its errors are in the text.
    """
    return output_of(["docker", *arguments], timeout_s=timeout_s, check=check)


def output_of(
    argv: Sequence[str], *, timeout_s: float, check: bool = True, env: Mapping[str, str] | None = None
) -> str:
    """A command's stdout.

    Raises:
        AssertionError: it failed; the end of what it said is in the text.
    """
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False, env=env
    )
    said = f"{' '.join(argv)} gave {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    assert done.returncode == 0 or not check, said
    return done.stdout


def why_no_engine() -> str | None:
    """Why no test can run containers here; None where a docker engine answers."""
    try:
        done = subprocess.run(["docker", "info"], capture_output=True, text=True, timeout=30, check=False)
    except FileNotFoundError:
        return "docker is not installed"
    except subprocess.TimeoutExpired:
        return "the docker engine does not answer"
    return None if done.returncode == 0 else "no docker engine answers `docker info`"


def containers_of(project: str, service: str | None = None) -> list[Container]:
    """Containers of a project's services, stopped ones too, in the order of their names; those of `run` aside."""
    labels = [
        f"{PROJECT_LABEL}={project}",
        f"{ONE_OFF_LABEL}=False",
        *([f"{SERVICE_LABEL}={service}"] if service else []),
    ]
    filters = [part for label in labels for part in ("--filter", f"label={label}")]
    ids = docker("ps", "--all", "--quiet", "--no-trunc", *filters).split()
    found = json.loads(docker("inspect", *ids)) if ids else []
    return sorted((_container(one) for one in found), key=lambda one: one.name)


def inspect_image(image: str) -> dict[str, Any]:
    """What `docker image inspect` says of an image."""
    described: dict[str, Any] = json.loads(docker("image", "inspect", image))[0]
    return described


def remove_project(project: str) -> None:
    """Whatever a project still has: containers, networks, volumes."""
    for listing, removal in (
        (("ps", "--all", "--quiet"), ("rm", "--force", "--volumes")),
        (("network", "ls", "--quiet"), ("network", "rm")),
        (("volume", "ls", "--quiet"), ("volume", "rm", "--force")),
    ):
        names = docker(*listing, "--filter", f"label={PROJECT_LABEL}={project}").split()
        if names:
            docker(*removal, *names, timeout_s=120)


def _container(found: Mapping[str, Any]) -> Container:
    state, config = found["State"], found["Config"]
    bindings = (found["NetworkSettings"]["Ports"] or {}).values()
    return Container(
        id=found["Id"],
        name=found["Name"].lstrip("/"),
        service=config["Labels"].get(SERVICE_LABEL, ""),
        image=config["Image"],
        status=state["Status"],
        health=state["Health"]["Status"] if "Health" in state else None,
        exit_code=state["ExitCode"],
        user=config["User"],
        published=frozenset((one["HostIp"], int(one["HostPort"])) for group in bindings for one in group or ()),
    )
