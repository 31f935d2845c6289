"""What can be known to fail before anything is started: the data folder, a second stack on it, ports in use."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from platolm.errors import StackError
from platolm.stack.plan import ProcessPlan
from platolm.stack.settings import HOST

LOCK_NAME = "stack.lock"
MIN_FREE_BYTES = 256 * 1024 * 1024


def check_data_dir(folder: Path) -> None:
    """Make the data folder, and see that it can be written.

    Raises:
        StackError: it cannot, or its disk is full.
    """
    try:
        for part in (folder, folder / "redis"):
            part.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(b"0")
    except OSError as error:
        raise StackError(f"cannot write to {folder} ({error.strerror}): choose another with --data-dir") from error
    free = shutil.disk_usage(folder).free
    if free < MIN_FREE_BYTES:
        raise StackError(
            f"{folder} has {free // 2**20} MiB left on its disk, less than {MIN_FREE_BYTES // 2**20}: "
            "make room, or choose another with --data-dir"
        )


@contextmanager
def stack_lock(folder: Path) -> Iterator[None]:
    """Hold the data folder: two stacks would write to one Redis log. The kernel lets go when this process ends.

    Raises:
        StackError: another stack holds it.
    """
    path = folder / LOCK_NAME
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
            raise StackError(
                f"a stack is already running on {folder} (process {holder}): stop it, or choose another --data-dir"
            ) from error
        os.ftruncate(fd, 0)
        os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(fd)


def check_ports(plans: Sequence[ProcessPlan]) -> None:
    """See that every port is free.

    Raises:
        StackError: one line that names each port in use and the flag that moves it.
    """
    taken = [
        f"{port} ({plan.name}; another with {flag})"
        for plan in plans
        for flag, port in plan.ports.items()
        if not _is_free(port)
    ]
    if taken:
        raise StackError(f"{'ports' if len(taken) > 1 else 'port'} in use: {', '.join(taken)}")


def free_ports(count: int) -> list[int]:
    """Distinct loopback ports that are free now; they are soon taken, or the taker says that they were not."""
    with ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((HOST, 0))
        return [int(sock.getsockname()[1]) for sock in sockets]


def _is_free(port: int) -> bool:
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((HOST, port))
        except OSError:
            return False
    return True
