"""The processes of a run as one of them sees it: how many, which one it is, what the first tells all, who is gone."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

PEER_TIMEOUT = "PLATOLM_TRAIN_PEER_TIMEOUT_S"
"""Environment variable by which the launcher tells the ranks how long one may be silent."""
PEER_TIMEOUT_S = 1800

_GONE = re.compile(
    r"connection (was )?(closed|reset|refused|aborted)|broken pipe|socket (closed|error)|remote process exited"
    r"|ncclremoteerror|timed out|timeout",
    re.IGNORECASE,
)
_LONGEST_REASON = 160


@dataclass(frozen=True)
class Devices:
    """Which of how many processes this is; each has one device. A rank silent for `peer_timeout_s` counts as gone."""

    number: int
    rank: int
    local_rank: int = 0
    peer_timeout_s: int = PEER_TIMEOUT_S

    @classmethod
    def from_environment(cls) -> Devices:
        """As torchrun says; alone without it."""
        return cls(
            int(os.environ.get("WORLD_SIZE", "1")),
            int(os.environ.get("RANK", "0")),
            int(os.environ.get("LOCAL_RANK", "0")),
            int(os.environ.get(PEER_TIMEOUT, PEER_TIMEOUT_S)),
        )

    @property
    def is_first(self) -> bool:
        return self.rank == 0

    @property
    def is_first_here(self) -> bool:
        """Whether it is the first of its machine."""
        return self.local_rank == 0

    def agreed(self, path: Path | None) -> Path | None:
        """The first rank's path, on all ranks.

        Machines may see a shared folder at different ages for some seconds, and each must go on from the same step.
        """
        if self.number == 1:
            return path
        from torch.distributed import broadcast_object_list

        shared = [path]
        broadcast_object_list(shared, src=0)
        return shared[0]


def lost_peer(error: BaseException) -> str | None:
    """Why an error of a collective means that another process is gone, in a few words; None where it means no such.

    Gloo says `RuntimeError` for a connection that another rank's end has closed, as for much else; NCCL and the store
    have errors of their own.
    """
    from torch.distributed import DistError

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, DistError) or (isinstance(seen, RuntimeError) and _GONE.search(str(seen))):
            return (str(seen).strip().splitlines() or [type(seen).__name__])[0][:_LONGEST_REASON]
        seen = seen.__cause__ or seen.__context__
    return None
