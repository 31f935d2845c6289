"""From dialogue files to memory-mapped training rows, tokenised once and kept."""

from __future__ import annotations

from training.data.prepared import PreparedRows, prepare
from training.data.report import DataReport

__all__ = ["DataReport", "PreparedRows", "prepare"]
