"""Which of all cleaned dialogues repeat an earlier one, gathered chunk by chunk; the first in the input stays."""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from curation.clean.chunks import Cleaned, Verdicts, global_stages
from curation.clean.duplicates import NUM_VALUES, near_repeats
from curation.clean.settings import CleanSettings, StageName
from curation.clean.stages import Dropped

_SIGNATURES_FILE = "signatures"


class Repeats:
    """Digests in memory (about 200 bytes a dialogue), signatures in a file (512 bytes each)."""

    def __init__(self, settings: CleanSettings, folder: Path) -> None:
        self._settings = settings
        self._file = folder / _SIGNATURES_FILE
        self._file.write_bytes(b"")
        self._starts = [0]
        self._ids: list[str] = []
        self._firsts: dict[bytes, int] = {}
        self._dropped: dict[StageName, dict[int, Dropped]] = {name: {} for name in global_stages(settings)}
        self._signed = array("q")

    @property
    def num_chunks(self) -> int:
        return len(self._starts) - 1

    def add(self, cleaned: Cleaned) -> None:
        """Take in the next chunk."""
        assert cleaned.number == len(self._starts) - 1
        self._ids += cleaned.ids
        start = self._starts[-1]
        for position, digest in enumerate(cleaned.digests, start=start):
            first = self._firsts.setdefault(digest, position)
            if first != position:
                self._dropped[StageName.EXACT_DUPLICATES][position] = Dropped(
                    "repeats an earlier dialogue", self._ids[first]
                )
        self._starts.append(len(self._ids))
        if cleaned.signatures:
            self._keep_signatures(cleaned, start)

    def verdicts(self) -> Iterator[Verdicts]:
        """What is dropped, chunk by chunk, once all are taken in."""
        if StageName.NEAR_DUPLICATES in self._settings:
            self._find_near()
        by_chunk = [{name: dict[int, Dropped]() for name in self._dropped} for _ in self._starts[1:]]
        for name, dropped in self._dropped.items():
            for position, why in dropped.items():
                number = bisect_right(self._starts, position) - 1
                by_chunk[number][name][position - self._starts[number]] = why
        for number, of_chunk in enumerate(by_chunk):
            yield Verdicts(number, of_chunk)

    def _keep_signatures(self, cleaned: Cleaned, start: int) -> None:
        """Those of dialogues that are no exact repeat."""
        exact = self._dropped.get(StageName.EXACT_DUPLICATES, {})
        size = len(cleaned.signatures) // len(cleaned.ids)
        with self._file.open("ab") as file:
            for begin, end in pairwise(range(0, len(cleaned.signatures) + 1, size)):
                position = start + begin // size
                if position not in exact:
                    file.write(cleaned.signatures[begin:end])
                    self._signed.append(position)

    def _find_near(self) -> None:
        if not self._signed:
            return
        signatures = np.memmap(self._file, np.uint32, mode="r").reshape(-1, NUM_VALUES)
        for repeat in near_repeats(signatures, self._settings.similarity):
            detail = f"{self._ids[self._signed[repeat.of]]}, similarity {repeat.similarity:.2f}"
            near = self._dropped[StageName.NEAR_DUPLICATES]
            near[self._signed[repeat.position]] = Dropped("nearly repeats an earlier dialogue", detail)
