"""Where a process can be made to kill itself, so that a test hits the moment between two steps every time.

`crash_point(name)` stands in the code between them. It does nothing unless the process was armed, which only an entry
point does, where its setting `crash_at` says so.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

CRASH_POINTS = {
    "worker.after_claim": "conversations are claimed in Redis, none of them is begun",
    "worker.before_append": "an utterance is generated, Redis has not heard of it",
    "worker.after_append": "the utterance is in Redis, the worker has not gone on",
    "worker.before_finish": "a conversation has ended, Redis takes it for unfinished",
    "worker.after_finish": "its record waits for the dataset, the worker still counts it as its own",
    "worker.before_release": "a conversation is to be given back, the claim stands",
    "writer.before_segment": "records are read from Redis, nothing is written",
    "writer.segment_written": "a segment is on disk under its temporary name",
    "writer.segment_renamed": "the segment has its name, no manifest entry names it",
    "writer.manifest_linked": "the segment counts, its records are in Redis too",
    "writer.before_commit": "the dataset is committed, Redis is about to be told",
    "writer.after_commit": "Redis has forgotten the records, the writer has not gone on",
    "feeder.before_feed": "the next seeds are read, the cursor stands before them",
    "feeder.after_feed": "the cursor has moved on, the feeder does not know",
    "api.run_folder_written": "a run's folder is on disk, the run does not exist",
    "api.run_created": "the run exists, the client has no answer",
}
"""Every crash point, and what has happened there and what has not."""


@dataclass
class _Armed:
    name: str
    passes_left: int


_armed: _Armed | None = None


def arm(crash_at: str | None) -> None:
    """Make this process send itself SIGKILL at the n-th passing of a crash point; None or "" disarms it.

    Args:
        crash_at: `NAME:N`, N from 1.

    Raises:
        ValueError: there is no such crash point, or the text is not of that form.
    """
    global _armed
    _armed = _parsed(crash_at) if crash_at else None


def crash_point(name: str) -> None:
    """A place where an armed process may end."""
    if _armed is None or _armed.name != name:
        return
    _armed.passes_left -= 1
    if _armed.passes_left == 0:
        os.kill(os.getpid(), signal.SIGKILL)


def _parsed(crash_at: str) -> _Armed:
    name, _, passes = crash_at.partition(":")
    if name not in CRASH_POINTS:
        raise ValueError(f"crash_at: no crash point {name!r}; there are {', '.join(CRASH_POINTS)}")
    if not (passes.isascii() and passes.isdigit() and int(passes) > 0):
        raise ValueError(f"crash_at: {crash_at!r} is not NAME:N with a number from 1")
    return _Armed(name, int(passes))
