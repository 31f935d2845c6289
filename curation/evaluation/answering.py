"""The respondent answers a suite's questions, turn after turn; each answered question is a row of FastChat's form."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from curation.evaluation.bounded import work_through
from curation.evaluation.endpoint import Endpoint, Reply, Usage, is_about_one_request
from curation.evaluation.journal import Journal, Row
from curation.evaluation.suites.suite import Question, QuestionId, Suite
from platolm.conversation import ASSISTANT, SYSTEM, USER
from platolm.errors import OccupiedError, SpeakerError


@dataclass(frozen=True)
class AnswerSampling:
    """How answers are drawn. `temperature` None: the suite's own for each question."""

    max_tokens: int
    temperature: float | None = None
    seed: int | None = None
    system_prompt: str | None = None


@dataclass(frozen=True)
class Failed:
    """A question that the server did not take; asked again at the next start. `usage` is of turns before that one."""

    question_id: QuestionId
    reason: str
    usage: Usage = field(default_factory=Usage)


@dataclass(frozen=True)
class Answering:
    """What is needed to answer questions; `model_id` is the respondent's name in the suite's files."""

    suite: Suite
    respondent: Endpoint
    model_id: str
    sampling: AnswerSampling

    async def answer(
        self, questions: Sequence[Question], journal: Journal, on_done: Callable[[], None]
    ) -> list[Failed]:
        """Answer what the journal does not have yet; `on_done` is called after each.

        Raises:
            OccupiedError: the journal's answers were drawn in another way.
            SpeakerError: the respondent is away, or takes no request at all.
        """
        self._check(questions, journal)
        answered = answers_by_question(journal.rows)
        failed: list[Failed] = []

        async def work(question: Question) -> None:
            replies: list[Reply] = []
            try:
                await self._ask(question, replies)
            except SpeakerError as error:
                if not is_about_one_request(error):
                    raise
                failed.append(Failed(question.id, str(error), _usage_of_replies(replies)))
            else:
                journal.add(self._row(question, replies))
            on_done()

        waiting = [question for question in questions if question.id not in answered]
        await work_through(waiting, work, at_once=self.respondent.concurrency)
        return in_order(failed, questions)

    async def _ask(self, question: Question, replies: list[Reply]) -> None:
        """Ask turn after turn; each reply is added to `replies` as it comes."""
        chat = [{"role": SYSTEM, "content": self.sampling.system_prompt}] if self.sampling.system_prompt else []
        for turn in question.turns:
            chat.append({"role": USER, "content": turn})
            reply = await self.respondent.ask(chat, **self._fields(question))
            chat.append({"role": ASSISTANT, "content": reply.text})
            replies.append(reply)

    def _row(self, question: Question, replies: Sequence[Reply]) -> Row:
        return {
            "question_id": question.id,
            "answer_id": uuid.uuid4().hex,
            "model_id": self.model_id,
            "choices": [{"index": 0, "turns": [reply.text for reply in replies]}],
            "tstamp": time.time(),
            "usage": asdict(_usage_of_replies(replies)),
            "sampling": self._sampled(question),
        }

    def _fields(self, question: Question) -> dict[str, Any]:
        own = self.sampling.temperature
        temperature = self.suite.temperature(question) if own is None else own
        return {"temperature": temperature, "max_tokens": self.sampling.max_tokens, "seed": self.sampling.seed}

    def _sampled(self, question: Question) -> dict[str, Any]:
        return {
            "model": self.respondent.model,
            **self._fields(question),
            "system_prompt": self.sampling.system_prompt,
        }

    def _check(self, questions: Sequence[Question], journal: Journal) -> None:
        answered = answers_by_question(journal.rows)
        for question in questions:
            sampled = answered.get(question.id, {}).get("sampling")
            if isinstance(sampled, Mapping) and sampled != self._sampled(question):
                changed = sorted(name for name, value in self._sampled(question).items() if sampled.get(name) != value)
                raise OccupiedError(
                    f"{journal.path} holds answers with another {', '.join(changed)}: give another --model-id or --out"
                )


def _usage_of_replies(replies: Sequence[Reply]) -> Usage:
    return sum((reply.usage for reply in replies), start=Usage())


def in_order(failed: Sequence[Failed], questions: Sequence[Question]) -> list[Failed]:
    """The failures in the order of the questions, whichever came first."""
    place = {question.id: number for number, question in enumerate(questions)}
    return sorted(failed, key=lambda one: place[one.question_id])


def answers_by_question(rows: Sequence[Row]) -> dict[QuestionId, Row]:
    """The rows by question id; of several the last, as FastChat reads them."""
    return {question_id: row for row in rows if isinstance(question_id := row.get("question_id"), int | str)}


def turns_of(question: Question, answer: Row) -> list[str]:
    """What was said in each of the question's turns.

    Raises:
        OccupiedError: the row has not FastChat's form, or fewer turns than the question.
    """
    try:
        said = [str(turn) for turn in answer["choices"][0]["turns"]]
    except (KeyError, IndexError, TypeError):
        said = []
    if len(said) < len(question.turns):
        raise OccupiedError(
            f"the answer to question {question.id} has {len(said)} turns instead of {len(question.turns)}: "
            f"remove its line from model_answer"
        )
    return said


def usage_of(rows: Sequence[Row]) -> Usage:
    """The tokens of all rows; those that other programs wrote count none."""
    total = Usage()
    for row in rows:
        counts = row.get("usage")
        if isinstance(counts, Mapping):
            total += Usage(*(_count(counts.get(name)) for name in ("prompt_tokens", "completion_tokens")))
    return total


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
