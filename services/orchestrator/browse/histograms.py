"""How many rounds a run's conversations have, how long their utterances are, and why they ended."""

from __future__ import annotations

import time

from platolm.browse_api import Histograms
from platolm.segment_summary import Counts
from services.orchestrator.browse.search import LOOKS_FOR_S
from services.orchestrator.datasets.run_place import RunPlace


def histograms(place: RunPlace, *, looks_for_s: float = LOOKS_FOR_S) -> Histograms:
    """What the manifest's summaries add up to; segments without one are read for as long as the time allows. It blocks.

    Raises:
        OutputError: the place does not answer, or a segment is missing.
    """
    deadline = time.monotonic() + looks_for_s
    catalogue = place.catalogue()
    for number in range(1, len(catalogue) + 1):
        if not catalogue.is_summarised(number):
            place.summarise(number)
            if time.monotonic() > deadline:
                break
    totals = place.totals()
    return Histograms(
        conversations=totals.num_records,
        total=catalogue.num_records,
        rounds=_pairs(totals.rounds),
        user_tokens=_pairs(totals.user_tokens),
        assistant_tokens=_pairs(totals.assistant_tokens),
        terminations=totals.endings,
        generated_tokens=totals.tokens,
        faults=totals.faults,
    )


def _pairs(counts: Counts) -> list[tuple[int, int]]:
    return sorted(counts.items())
