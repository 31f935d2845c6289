"""The folder of a suite, laid out as FastChat lays out its own, so that its programs and AlpacaEval's read it.

question.jsonl                          the questions; one set for each folder
model_answer/MODEL.jsonl                answers, one row a question
model_judgment/JUDGE_single.jsonl       ratings of all models by one judge (JUDGE_pair.jsonl: comparisons)
alpaca_eval/MODEL/model_outputs.json    AlpacaEval's form of the answers, and of the judge's annotations
scores/MODEL_JUDGE.json                 what was printed at the end
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curation.evaluation.journal import read_rows
from curation.evaluation.suites.suite import Judging, Question
from platolm.errors import OccupiedError
from platolm.storage import write_atomically

_NO_NAME = re.compile(r"[^A-Za-z0-9._-]+")


def name_of_model(model: str) -> str:
    """A model's name as the suites' files can have it in theirs: the last part of a path, nothing but plain letters."""
    last = model.rstrip("/").rpartition("/")[2]
    return _NO_NAME.sub("-", last).lstrip(".") or "model"


class SuiteFolder:
    """Paths below one folder, and the files of it that are written whole."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def questions(self) -> Path:
        return self.path / "question.jsonl"

    def answers(self, model_id: str) -> Path:
        return self.path / "model_answer" / f"{model_id}.jsonl"

    def judgments(self, judge_id: str, judging: Judging) -> Path:
        return self.path / "model_judgment" / f"{judge_id}_{judging}.jsonl"

    def alpaca_eval(self, model_id: str) -> Path:
        return self.path / "alpaca_eval" / model_id

    def scores(self, model_id: str, judge_id: str) -> Path:
        return self.path / "scores" / f"{model_id}_{judge_id}.json"

    def keep_questions(self, questions: Sequence[Question]) -> None:
        """Write the questions, or see that the folder has the same ones.

        Raises:
            OccupiedError: it has others.
        """
        records = [dict(question.record) for question in questions]
        if self.questions.exists():
            if read_rows(self.questions) != records:
                raise OccupiedError(f"{self.questions} holds other questions: give another --out")
            return
        content = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        write_atomically(self.questions, content.encode("utf-8"))

    def write_json(self, path: Path, value: Any) -> None:
        """Put a JSON file in place, whole or not at all."""
        write_atomically(path, (json.dumps(value, ensure_ascii=False, indent=2) + "\n").encode("utf-8"))
