"""The judge reads answers and gives each a score; a judgment is a row of FastChat's form."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from curation.evaluation.answering import Failed, in_order, turns_of
from curation.evaluation.bounded import work_through
from curation.evaluation.endpoint import Chat, Endpoint, is_about_one_request
from curation.evaluation.journal import Journal, Row
from curation.evaluation.prompts import JudgePrompt, JudgePrompts, user_text
from curation.evaluation.ratings import rating_of
from curation.evaluation.suites.suite import Question, QuestionId, Suite
from platolm.errors import OccupiedError, SpeakerError

UNRATED = -1
"""FastChat's score of a judgment in which no rating can be found; it counts nowhere."""
JUDGE_MAX_TOKENS = 2048

TaskKey = tuple[QuestionId, int]


@dataclass(frozen=True)
class JudgeTask:
    """One thing to be judged. `read` makes the score from the judge's words; `noted` goes into the row too."""

    question: Question
    turn: int
    prompt_name: str
    messages: Chat
    read: Callable[[str], float | None]
    noted: Mapping[str, Any] = field(default_factory=dict)

    @property
    def key(self) -> TaskKey:
        return self.question.id, self.turn


def single_tasks(
    suite: Suite, questions: Sequence[Question], answers: Mapping[QuestionId, Row], prompts: JudgePrompts
) -> list[JudgeTask]:
    """A rating for each turn of each answered question."""
    return [
        _single_task(suite, question, turns_of(question, answers[question.id]), turn, prompts)
        for question in questions
        if question.id in answers
        for turn in range(1, len(question.turns) + 1)
    ]


def has_reference(suite: Suite, question: Question) -> bool:
    """Whether a question is judged with reference answers: its category wants them, and it has one for each turn."""
    return question.category in suite.reference_categories and len(question.references) >= len(question.turns)


def _single_task(suite: Suite, question: Question, said: Sequence[str], turn: int, prompts: JudgePrompts) -> JudgeTask:
    with_reference = has_reference(suite, question)
    prompt = prompts.single(with_reference=with_reference, turn=turn)
    fields = {"question": question.turns[0], "answer": said[0]}
    for number, (asked, answer) in enumerate(zip(question.turns[:turn], said, strict=False), start=1):
        fields |= {f"question_{number}": asked, f"answer_{number}": answer}
    if with_reference:
        fields |= {f"ref_answer_{number}": text for number, text in enumerate(question.references, start=1)}
    return _task(question, turn, prompt, fields)


def _task(question: Question, turn: int, prompt: JudgePrompt, fields: Mapping[str, str]) -> JudgeTask:
    return JudgeTask(question, turn, prompt.name, prompt.filled(fields), rating_of)


@dataclass(frozen=True)
class JudgingSettings:
    """How the judge is asked: temperature 0, as the suites do."""

    max_tokens: int = JUDGE_MAX_TOKENS
    temperature: float = 0.0


@dataclass(frozen=True)
class JudgeWork:
    """What is needed to judge one respondent's answers; ids are the names in the suite's files."""

    judge: Endpoint
    judge_id: str
    model_id: str
    settings: JudgingSettings = field(default_factory=JudgingSettings)

    async def judge_all(
        self, tasks: Sequence[JudgeTask], journal: Journal, on_done: Callable[[], None]
    ) -> list[Failed]:
        """Judge what the journal does not have yet; `on_done` is called after each.

        Raises:
            OccupiedError: the journal has judgments of other answers, or by other prompts, under the same names.
            SpeakerError: the judge is away, or takes no request at all.
        """
        judged = self.rows_of(tasks, journal)
        failed: list[Failed] = []

        async def work(task: JudgeTask) -> None:
            try:
                journal.add(await self._row(task))
            except SpeakerError as error:
                if not is_about_one_request(error):
                    raise
                failed.append(Failed(task.question.id, str(error)))
            on_done()

        waiting = [task for task in tasks if task.key not in judged]
        await work_through(waiting, work, at_once=self.judge.concurrency)
        return in_order(failed, [task.question for task in tasks])

    def rows_of(self, tasks: Sequence[JudgeTask], journal: Journal) -> dict[TaskKey, Row]:
        """The journal's judgments of these tasks.

        Raises:
            OccupiedError: one is of another answer, or by another prompt.
        """
        by_key = {task.key: task for task in tasks}
        judged: dict[TaskKey, Row] = {}
        for row in journal.rows:
            question_id, turn = row.get("question_id"), row.get("turn", 1)
            if not isinstance(question_id, int | str) or not isinstance(turn, int) or row.get("model") != self.model_id:
                continue
            task = by_key.get((question_id, turn))
            if task is None:
                continue
            if row.get("user_prompt") != user_text(task.messages):
                raise OccupiedError(
                    f"{journal.path} has question {task.question.id} of {self.model_id} judged with another answer, "
                    f"prompt or reference: move that file away, or give another --out"
                )
            judged[task.key] = row
        return judged

    async def _row(self, task: JudgeTask) -> Row:
        asked = asdict(self.settings)
        reply = await self.judge.ask(task.messages, **asked)
        score = task.read(reply.text)
        return {
            "question_id": task.question.id,
            "model": self.model_id,
            "judge": [self.judge_id, task.prompt_name],
            "user_prompt": user_text(task.messages),
            "judgment": reply.text,
            "score": UNRATED if score is None else score,
            "turn": task.turn,
            "tstamp": time.time(),
            **task.noted,
            "usage": asdict(reply.usage),
        }
