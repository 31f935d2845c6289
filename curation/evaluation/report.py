"""What an evaluation came to: as a table beside the paper's figures, and as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from curation.evaluation.answering import Failed
from curation.evaluation.endpoint import Usage
from curation.evaluation.evaluate import Evaluation, Judged, Spent
from curation.evaluation.judging import TaskKey
from curation.evaluation.scores import Breakdown, Estimate
from curation.evaluation.suites.suite import Judging, Published, Suite

PAIR_SCALE_NOTE = "win rate, %"
SINGLE_SCALE_NOTE = "rating, 1 to 10"
MAX_NAMED = 10
"""So many questions are named in a line of warnings."""
_MILLION = 1_000_000


@dataclass(frozen=True)
class Price:
    """Money for a million tokens, in whatever currency the caller counts in."""

    prompt: float
    completion: float

    def of(self, usage: Usage) -> float:
        return (usage.prompt_tokens * self.prompt + usage.completion_tokens * self.completion) / _MILLION


@dataclass(frozen=True)
class Prices:
    """Of both sides; None: not known, and no cost is shown."""

    respondent: Price | None = None
    judge: Price | None = None


def score_table(evaluation: Evaluation, judged: Judged) -> Table:
    """A row for each category, one for all, and the paper's; a column for each turn and one for all turns."""
    suite, scores = evaluation.plan.suite, judged.scores
    turns = list(scores.total.by_turn)
    note = SINGLE_SCALE_NOTE if suite.judging is Judging.SINGLE else PAIR_SCALE_NOTE
    table = Table(title=f"{suite.name} · {evaluation.answered.model_id} · {note}, 95 % interval", title_justify="left")
    table.add_column("category")
    for turn in turns if len(turns) > 1 else []:
        table.add_column(f"turn {turn}", justify="right")
    table.add_column("all turns" if len(turns) > 1 else "score", justify="right")
    for breakdown in scores.categories:
        table.add_row(breakdown.category, *_cells(breakdown, turns))
    table.add_section()
    table.add_row("all", *_cells(scores.total, turns), style="bold")
    if suite.published is not None:
        table.add_row(suite.published.model, *_published_cells(suite.published, turns))
    return table


def _cells(breakdown: Breakdown, turns: Sequence[int]) -> list[str]:
    by_turn = [estimate_text(breakdown.by_turn[turn]) for turn in turns] if len(turns) > 1 else []
    return [*by_turn, estimate_text(breakdown.overall)]


def estimate_text(estimate: Estimate | None) -> str:
    """A mean with its interval: `6.74 (6.31–7.12)`."""
    return "-" if estimate is None else f"{estimate.mean:.2f} ({estimate.low:.2f}–{estimate.high:.2f})"


def _published_cells(published: Published, turns: Sequence[int]) -> list[str]:
    by_turn = [f"{published.by_turn[turn]:.2f}" if turn in published.by_turn else "-" for turn in turns]
    return [*(by_turn if len(turns) > 1 else []), f"{published.overall:.2f}"]


def spending_table(evaluation: Evaluation, prices: Prices) -> Table:
    """Tokens, and their cost where a price is known, of this start and of everything in the files."""
    table = Table(title="tokens", title_justify="left")
    table.add_column("side")
    for column in ("in", "out", "cost"):
        table.add_column(column, justify="right")
    _add_spent(table, "respondent", evaluation.answered.spent, prices.respondent)
    if evaluation.judged is not None:
        _add_spent(table, "judge", evaluation.judged.spent, prices.judge)
    return table


def _add_spent(table: Table, side: str, spent: Spent, price: Price | None) -> None:
    for when, usage in (("now", spent.now), ("in all", spent.in_all)):
        cost = f"{price.of(usage):,.4f}" if price is not None else "-"
        table.add_row(f"{side}, {when}", f"{usage.prompt_tokens:,}", f"{usage.completion_tokens:,}", cost)


def warnings(evaluation: Evaluation) -> list[str]:
    """What must be known beside the scores, a line each."""
    answered, judged = evaluation.answered, evaluation.judged
    said = _failures("without an answer", answered.failed)
    if judged is None:
        return said
    said += _failures("with an answer that is not judged", judged.failed)
    said += _unrated(judged.scores.unrated)
    if judged.reservations:
        said.append(f"not comparable with published scores: {'; '.join(judged.reservations)}")
    return said


def _unrated(unrated: Sequence[TaskKey]) -> list[str]:
    if not unrated:
        return []
    which = _listed([f"question {question_id} turn {turn}" for question_id, turn in unrated])
    return [f"judgments without a score that can be read: {len(unrated)}, which count nowhere: {which}"]


def _failures(what: str, failed: Sequence[Failed]) -> list[str]:
    if not failed:
        return []
    ids = list(dict.fromkeys(str(one.question_id) for one in failed))
    return [f"questions {what}: {len(ids)}, the scores are without {_listed(ids)}; the first: {failed[0].reason}"]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more


def as_json(evaluation: Evaluation, prices: Prices) -> dict[str, Any]:
    """Everything of the tables and warnings, for scripts and for the file beside the answers."""
    answered, judged, suite = evaluation.answered, evaluation.judged, evaluation.plan.suite
    return {
        "suite": suite.name,
        "questions": str(evaluation.plan.questions),
        "num_questions": answered.num_questions,
        "num_answered": answered.num_answered,
        "respondent": {
            "model_id": answered.model_id,
            "model": answered.model,
            "sampling": asdict(evaluation.plan.sampling),
            "tokens": _spent_json(answered.spent, prices.respondent),
        },
        "judge": None if judged is None else _judged_json(judged, prices),
        "published": _published_json(suite),
        "warnings": warnings(evaluation),
        "is_complete": evaluation.is_complete,
    }


def _judged_json(judged: Judged, prices: Prices) -> dict[str, Any]:
    return {
        "judge_id": judged.judge_id,
        "model": judged.model,
        "prompts": judged.prompts,
        "is_comparable": not judged.reservations,
        "reservations": list(judged.reservations),
        "scores": judged.scores.model_dump(mode="json"),
        "tokens": _spent_json(judged.spent, prices.judge),
    }


def _spent_json(spent: Spent, price: Price | None) -> dict[str, Any]:
    cost = {"now": price.of(spent.now), "in_all": price.of(spent.in_all)} if price is not None else None
    return {"now": asdict(spent.now), "in_all": asdict(spent.in_all), "cost": cost}


def _published_json(suite: Suite) -> dict[str, Any] | None:
    return None if suite.published is None else asdict(suite.published)
