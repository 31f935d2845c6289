"""Stands between a process and one child so that the child's whole tree dies with either.

Run as a script, standard library only: `python -S guard.py <parent pid> <grace seconds> <command> …`.

- The parent's death (SIGKILL too) reaches the guard as SIGTERM (PR_SET_PDEATHSIG).
- SIGTERM goes on to the command; after the grace its process group is killed. SIGQUIT kills the group at once.
- Whatever the command leaves behind is adopted by the guard (PR_SET_CHILD_SUBREAPER) and killed before it exits.

The guard exits with the command's code, or 128 + the signal that ended it.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_STOP_SIGNALS = {signal.SIGTERM, signal.SIGINT}
_KILL_SIGNAL = signal.SIGQUIT  # a repeated SIGTERM would coalesce with the first
_COMMAND_NOT_FOUND = 127


def main(argv: list[str]) -> int:
    parent, grace_s, command = int(argv[0]), float(argv[1]), argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:  # it died before the line above
        return 0
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    watched = {*_STOP_SIGNALS, _KILL_SIGNAL, signal.SIGCHLD}
    signal.pthread_sigmask(signal.SIG_BLOCK, watched)

    def in_child() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, watched)

    try:
        child = subprocess.Popen(command, start_new_session=True, preexec_fn=in_child)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", file=sys.stderr)
        return _COMMAND_NOT_FOUND
    code = _wait(child.pid, watched, grace_s)
    _kill_group(child.pid)
    _kill_adopted()
    return code


def _wait(child: int, watched: set[signal.Signals], grace_s: float) -> int:
    """Reap until `child` ends; returns its exit code."""
    deadline: float | None = None
    while True:
        code = _reap(child)
        if code is not None:
            return code
        received = _next_signal(watched, deadline)
        if received is None or received == _KILL_SIGNAL:
            _kill_group(child)
            deadline = time.monotonic() + 1
        elif received in _STOP_SIGNALS and deadline is None:
            deadline = time.monotonic() + grace_s
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGTERM)


def _next_signal(watched: set[signal.Signals], deadline: float | None) -> int | None:
    """The next signal's number; None once the deadline has passed."""
    if deadline is None:
        return signal.sigwait(watched)
    info = signal.sigtimedwait(watched, max(0.0, deadline - time.monotonic()))
    return None if info is None else info.si_signo


def _reap(child: int) -> int | None:
    """Collect every child that has ended; the code of `child` if it is among them."""
    code = None
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return code
        if pid == 0:
            return code
        if pid == child:
            ended = os.waitstatus_to_exitcode(status)
            code = ended if ended >= 0 else 128 - ended


def _kill_group(pgid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pgid, signal.SIGKILL)


def _kill_adopted() -> None:
    """Kill orphans that have become ours, until none is left; their own children become ours in turn."""
    while True:
        try:
            with open(f"/proc/self/task/{os.getpid()}/children", encoding="ascii") as file:
                orphans = [int(pid) for pid in file.read().split()]
        except OSError:  # a kernel without CONFIG_PROC_CHILDREN: the group has been killed already
            return
        for pid in orphans:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
