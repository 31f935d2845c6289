"""The measures, and what is summed over conversations for them in one pass.

Every one of these is a ratio of sums, so that one bootstrap of the sums gives the interval of each. The others are made
from a sample (`curation.stats.sampled`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Any

import numpy as np

from curation.dialogue import Dialogue
from curation.stats.figures import Figure
from curation.stats.goodbyes import goodbyes_tried
from curation.stats.intervals import Floats, ResampledSums
from curation.stats.userlm import ends_of, intent_of, mean_overlap
from platolm.conversation import ASSISTANT, USER
from platolm.realism import Observed


class Column(IntEnum):
    """What is summed over conversations."""

    CONVERSATIONS = 0
    ROUNDS = auto()
    USER_TURNS = auto()
    ASSISTANT_TURNS = auto()
    USER_WORDS = auto()
    ASSISTANT_WORDS = auto()
    TOKENS = auto()
    COUNTED_UTTERANCES = auto()
    COUNTED_CONVERSATIONS = auto()
    MTLD = auto()
    QUESTIONS = auto()
    REPEATS = auto()
    ROLE_SLIPS = auto()
    INTENT_OVERLAP = auto()
    INTENT_TURNS = auto()
    ENDS_HIT = auto()
    ENDS_PREDICTED = auto()
    ENDS_ACTUAL = auto()
    GOODBYES_TRIED = auto()
    GOODBYES_PREMATURE = auto()


@dataclass(frozen=True)
class Measure:
    """One line of the tables. `above` over `below` are sums of columns; none of them: it is measured elsewhere.

    `lacking` says what to do where there is nothing to divide by; `unit` stands at an axis.
    """

    key: str
    title: str
    explained: str
    lacking: str
    unit: str
    above: Mapping[Column, float] | None = None
    below: Mapping[Column, float] | None = None
    scale: float = 1.0
    places: int = 2


_MAX_TOKENS = 2**40
"""No utterance has more; a larger number in a record is none."""

_NO_CONVERSATIONS = "the dataset has no conversation"
_NO_TURNS = "the dataset has no such turn"
_NO_TOKENS = "give --tokenizer: the records carry no token counts"
_NO_INTENTS = "the records carry no intent (`intent`, or a run in intent mode)"
_NO_ENDS = "no turn carries end_predicted and end_actual, and no people's conversation was continued by a run"
_NO_GOODBYES = "no record shows what the user said after a goodbye (endings.extra_turns: 3)"
_ON_SAMPLE = "the sample is empty"
_BY_JUDGE = "of the user's side, by the judge"
_OF_TURNS = "% of user turns"

MEASURES: tuple[Measure, ...] = (
    Measure(
        "rounds", "rounds a conversation", "user turns that were answered", _NO_CONVERSATIONS, "rounds",
        {Column.ROUNDS: 1}, {Column.CONVERSATIONS: 1},
    ),
    Measure(
        "tokens_utterance", "tokens an utterance", "of both sides", _NO_TOKENS, "tokens",
        {Column.TOKENS: 1}, {Column.COUNTED_UTTERANCES: 1}, places=1,
    ),
    Measure(
        "tokens_conversation", "tokens a conversation", "of both sides", _NO_TOKENS, "tokens",
        {Column.TOKENS: 1}, {Column.COUNTED_CONVERSATIONS: 1}, places=1,
    ),
    Measure(
        "mtld", "MTLD a question", "lexical diversity of a user turn, threshold 0.72", _NO_TURNS, "words",
        {Column.MTLD: 1}, {Column.QUESTIONS: 1},
    ),
    Measure(
        "topic_similarity", "topic similarity",
        "mean cosine similarity of all pairs of questions, each with itself too; lower is more diverse",
        _ON_SAMPLE, "cosine similarity", places=4,
    ),
    Measure(
        "human_likeness", "human-likeness, %", "questions that the classifier calls a person's",
        "give --human-classifier: no detector comes with the project", "% of questions", places=1,
    ),
    Measure("judge_complexity", "complexity, 1-10", _BY_JUDGE, "give --judge", "points, 1 to 10"),
    Measure("judge_relevancy", "relevancy, 1-10", _BY_JUDGE, "give --judge", "points, 1 to 10"),
    Measure("judge_logicality", "logicality, 1-10", _BY_JUDGE, "give --judge", "points, 1 to 10"),
    Measure("judge_diversity", "diversity, 1-10", _BY_JUDGE, "give --judge", "points, 1 to 10"),
    Measure(
        "first_turn_diversity", "first-turn diversity, %",
        "100 − mean overlap (Jaccard, of words) of all pairs of different conversations' openings", _ON_SAMPLE, "%",
    ),
    Measure(
        "intent_overlap", "intent decomposition, %",
        "mean overlap (Jaccard, of words) of a user turn with the intent; lower is told more bit by bit",
        _NO_INTENTS, "%",
        {Column.INTENT_OVERLAP: 1}, {Column.INTENT_TURNS: 1}, scale=100,
    ),
    Measure(
        "end_precision", "end of conversation, precision, %", "predicted ends that were ends",
        _NO_ENDS, "% of predicted ends",
        {Column.ENDS_HIT: 1}, {Column.ENDS_PREDICTED: 1}, scale=100,
    ),
    Measure(
        "end_recall", "end of conversation, recall, %", "ends that were predicted", _NO_ENDS, "% of ends",
        {Column.ENDS_HIT: 1}, {Column.ENDS_ACTUAL: 1}, scale=100,
    ),
    Measure(
        "end_f1", "end of conversation, F1, %", "harmonic mean of the two", _NO_ENDS, "%",
        {Column.ENDS_HIT: 2}, {Column.ENDS_PREDICTED: 1, Column.ENDS_ACTUAL: 1}, scale=100,
    ),
    Measure(
        "premature_goodbyes", "premature goodbyes, %",
        "goodbyes after which the user, made to go on, said more than goodbye", _NO_GOODBYES, "% of goodbyes",
        {Column.GOODBYES_PREMATURE: 1}, {Column.GOODBYES_TRIED: 1}, scale=100,
    ),
    Measure(
        "repeats", "verbatim repeats, %", "user turns that say again what the user said before",
        _NO_TURNS, _OF_TURNS,
        {Column.REPEATS: 1}, {Column.USER_TURNS: 1}, scale=100,
    ),
    Measure(
        "role_slips", "role slips, %", "user turns with an assistant's phrases, or that echo the assistant",
        _NO_TURNS, _OF_TURNS,
        {Column.ROLE_SLIPS: 1}, {Column.USER_TURNS: 1}, scale=100,
    ),
    Measure(
        "user_words", "words a user turn", "between white space", _NO_TURNS, "words",
        {Column.USER_WORDS: 1}, {Column.USER_TURNS: 1}, places=1,
    ),
    Measure(
        "assistant_words", "words an assistant turn", "between white space", _NO_TURNS, "words",
        {Column.ASSISTANT_WORDS: 1}, {Column.ASSISTANT_TURNS: 1}, places=1,
    ),
)  # fmt: skip

BY_KEY = {measure.key: measure for measure in MEASURES}

CRITERIA = ("complexity", "relevancy", "logicality", "diversity")
"""What a judge marks (Kong et al. 2024); a measure's key has `judge_` before it."""

JUDGED = frozenset(f"judge_{criterion}" for criterion in CRITERIA)
"""Keys of what a judge gives, on fewer conversations than the rest of the sample."""


def row_of(dialogue: Dialogue, seen: Observed, token_counts: list[int] | None) -> list[float]:
    """A conversation's entry in each column; `token_counts` has one for each of its utterances, None: not known."""
    overlaps = mean_overlap(dialogue.messages, intent_of(dialogue.fields))
    ends = ends_of(dialogue.fields)
    counted = token_counts is not None
    return [
        1.0,
        seen.num_rounds,
        len(seen.user_words),
        len(seen.assistant_words),
        sum(seen.user_words),
        sum(seen.assistant_words),
        sum(token_counts or ()),
        len(token_counts or ()),
        counted,
        sum(seen.mtlds),
        len(seen.mtlds),
        seen.num_repeats,
        seen.num_role_slips,
        *overlaps,
        *ends,
        *goodbyes_tried(dialogue),
    ]


def carried_counts(dialogue: Dialogue) -> list[int] | None:
    """Token counts of the utterances as the record's `turns` carry them; None where they do not, or not all."""
    turns = dialogue.fields.get("turns")
    if not isinstance(turns, list) or len(turns) != len(dialogue.messages):
        return None
    spoken = [turn for turn, one in zip(turns, dialogue.messages, strict=True) if one.role in (USER, ASSISTANT)]
    counts = [_num_tokens(turn) for turn in spoken]
    return [count for count in counts if count is not None] if None not in counts else None


def figures_of(sums: ResampledSums) -> dict[str, Figure]:
    """Every figure that is a ratio of sums, by its measure's key."""
    figures = {}
    for measure in MEASURES:
        if measure.above is None or measure.below is None:
            continue
        below = _vector(measure.below)
        estimate = sums.ratio(_vector(measure.above), below, scale=measure.scale)
        count = round(float(sums.totals @ (below > 0)))
        figures[measure.key] = Figure(
            estimate=estimate, count=count, lacking=None if estimate is not None else measure.lacking
        )
    return figures


def resampled_mean(sums: ResampledSums, key: str) -> Floats:
    """(resamples,): the measure of that key in each resample, NaN where it has nothing to divide by."""
    measure = BY_KEY[key]
    assert measure.above is not None
    assert measure.below is not None
    return sums.resampled_ratio(_vector(measure.above), _vector(measure.below)) * measure.scale


def _num_tokens(turn: Any) -> int | None:
    count = turn.get("num_tokens") if isinstance(turn, Mapping) else None
    return count if isinstance(count, int) and not isinstance(count, bool) and 0 <= count < _MAX_TOKENS else None


def _vector(columns: Mapping[Column, float]) -> Floats:
    vector = np.zeros(len(Column))
    for column, factor in columns.items():
        vector[column] = factor
    return vector
