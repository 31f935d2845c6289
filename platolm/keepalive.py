"""Noticing a peer that has gone without a word: a cut link sends no reset, and TCP alone waits for hours."""

from __future__ import annotations

import socket
from collections.abc import Mapping

PEER_TIMEOUT_S = 20.0
"""A peer whose machine acknowledges nothing for so long is gone: the kernel's word, however busy its processes are."""

_PROBES = 3


def keepalive_options(timeout_s: float) -> dict[int, int]:
    """Options of level IPPROTO_TCP that end a connection once the peer was silent for about `timeout_s`.

    Half the time passes before the first probe, so that idle connections cost little. What is sent and not acknowledged
    has the same limit (TCP_USER_TIMEOUT), where keepalive itself does not look. A system that lacks one goes without.
    """
    wanted: Mapping[str, int] = {
        "TCP_KEEPIDLE": max(1, round(timeout_s / 2)),
        "TCP_KEEPINTVL": max(1, round(timeout_s / 2 / _PROBES)),
        "TCP_KEEPCNT": _PROBES,
        "TCP_USER_TIMEOUT": max(1000, round(timeout_s * 1000)),
    }
    return {getattr(socket, name): value for name, value in wanted.items() if hasattr(socket, name)}


def keep_watch(sock: socket.socket, timeout_s: float) -> None:
    """Have the kernel watch this connection's peer, as `keepalive_options` says."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in keepalive_options(timeout_s).items():
        sock.setsockopt(socket.IPPROTO_TCP, option, value)
