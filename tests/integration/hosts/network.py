"""Hosts as network namespaces on one switch, whose links can be cut.

The switch is a namespace too, so that no firewall of this machine has a say in what passes. This machine itself is one
more host on it: from here a test watches the others.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_NOWHERE = "02:00:00:00:00:fe"
"""An Ethernet address that nobody has: what is sent there is lost without a word."""


@dataclass(frozen=True)
class Host:
    """A namespace with one address. `command` goes in front of a command line that is to run there."""

    name: str
    namespace: str
    address: str
    switch: str
    port: str

    @property
    def command(self) -> tuple[str, ...]:
        return ("ip", "netns", "exec", self.namespace)

    def cut(self) -> None:
        """Between this host and all others, as where a cable is pulled at the switch: no packet, no error."""
        _ip("-n", self.switch, "link", "set", self.port, "down")

    def heal(self) -> None:
        _ip("-n", self.switch, "link", "set", self.port, "up")

    def lose_what_goes_to(self, other: Host) -> None:
        """One way only: what the other sends still comes in."""
        _ip(
            "-n",
            self.namespace,
            "neigh",
            "replace",
            other.address,
            "lladdr",
            _NOWHERE,
            "dev",
            "eth0",
            "nud",
            "permanent",
        )

    def find_again(self, other: Host) -> None:
        _ip("-n", self.namespace, "neigh", "del", other.address, "dev", "eth0")


@contextlib.contextmanager
def network(names: Sequence[str]) -> Iterator[dict[str, Host]]:
    """Hosts that reach one another and this machine, by name; what runs in them has to end first."""
    tag = f"plato{os.getpid()}"
    subnet = f"198.18.{os.getpid() % 250}"  # of the range for tests between networks (RFC 2544)
    switch = f"{tag}-switch"
    with contextlib.ExitStack() as undo:
        _make(undo, switch)
        _ip("-n", switch, "link", "add", "br0", "type", "bridge")
        _ip("-n", switch, "link", "set", "br0", "up")
        here = f"p{os.getpid()}"  # an interface's name has 15 characters at most
        _plug(switch, "here", here, None)
        undo.callback(_ip, "link", "del", here)
        _address(None, here, f"{subnet}.1")
        hosts = {}
        for number, name in enumerate(names):
            host = Host(name, f"{tag}-{name}", f"{subnet}.{number + 2}", switch, f"to-{name}")
            _make(undo, host.namespace)
            _plug(switch, host.port, "eth0", host.namespace)
            _address(host.namespace, "eth0", host.address)
            hosts[name] = host
        yield hosts


def why_not() -> str | None:
    """Why there can be no namespaces here, or None."""
    if shutil.which("ip") is None:
        return "there is no `ip` (package iproute2)"
    name = f"plato{os.getpid()}-try"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        return f"network namespaces are not permitted here: {made.stderr.strip()}"
    try:
        tried = subprocess.run(
            ["ip", "-n", name, "link", "add", "br0", "type", "bridge"], capture_output=True, text=True, check=False
        )
        return None if tried.returncode == 0 else f"no bridge can be made here: {tried.stderr.strip()}"
    finally:
        _ip("netns", "del", name)


def _make(undo: contextlib.ExitStack, namespace: str) -> None:
    _ip("netns", "add", namespace)
    undo.callback(_ip, "netns", "del", namespace)
    _ip("-n", namespace, "link", "set", "lo", "up")


def _plug(switch: str, port: str, end: str, namespace: str | None) -> None:
    """A cable between a port of the switch and a host's interface `end`."""
    _ip("-n", switch, "link", "add", port, "type", "veth", "peer", "name", end, "netns", namespace or str(os.getpid()))
    _ip("-n", switch, "link", "set", port, "master", "br0", "up")


def _address(namespace: str | None, interface: str, address: str) -> None:
    where = ("-n", namespace) if namespace else ()
    _ip(*where, "address", "add", f"{address}/24", "dev", interface)
    _ip(*where, "link", "set", interface, "up")


def _ip(*args: str) -> None:
    done = subprocess.run(["ip", *args], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"ip {' '.join(args)}: {done.stderr.strip()}")
