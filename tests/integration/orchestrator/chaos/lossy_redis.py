"""A Redis that forgets what it wrote last, as on a machine that loses power.

A SIGKILL alone costs almost nothing: what Redis has handed to the operating system reaches the disk nevertheless.
"""

from __future__ import annotations

import os
from pathlib import Path

from tests.redis_server import RedisServer


class LossyRedis(RedisServer):
    """Redis 6.2, whose append-only file is one file."""

    @property
    def _log(self) -> Path:
        return self.folder / "appendonly.aof"

    def log_bytes(self) -> int:
        """How much is written so far."""
        return self._log.stat().st_size

    def forget_beyond(self, size_bytes: int) -> None:
        """While it is down: cut what was written since; Redis drops a command that was cut in its middle."""
        if size_bytes < self.log_bytes():  # else it was rewritten meanwhile
            os.truncate(self._log, size_bytes)
