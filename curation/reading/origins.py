"""Where a record stood, and the name it has from that."""

from __future__ import annotations


def default_id(origin: str) -> str:
    """An id for a record that has none: its file's name and its number, wherever the file lies."""
    return origin.replace("\\", "/").rpartition("/")[2]
