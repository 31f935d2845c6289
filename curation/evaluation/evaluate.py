"""An evaluation from questions to scores: answers, then judgments, each durable as soon as it is there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Protocol

from curation.evaluation.answering import Answering, Failed, answers_by_question, usage_of
from curation.evaluation.endpoint import Endpoint, Usage, open_endpoint
from curation.evaluation.folder import SuiteFolder, name_of_model
from curation.evaluation.journal import Journal, Row, open_journal
from curation.evaluation.judging import JudgeTask, JudgeWork, TaskKey, single_tasks
from curation.evaluation.pairwise import model_outputs, pair_annotations, pair_tasks
from curation.evaluation.plan import EvaluationPlan, JudgePlan, judge_prompts, read_plan_questions, reservations
from curation.evaluation.prompts import JudgePrompts
from curation.evaluation.scores import Scores, scores_of, summarise
from curation.evaluation.suites.suite import Judging, Question
from platolm.held import held


class Progress(Protocol):
    """Where an evaluation says how far it is."""

    def begin(self, what: str, total: int) -> Callable[[], None]:
        """A part of `total` steps begins; what is given back is called after each of them."""
        ...


@dataclass(frozen=True)
class Spent:
    """Tokens of one side: of this start, and of everything in its file for this respondent.

    Both have what this start spent on questions that failed at a later turn.
    """

    now: Usage
    in_all: Usage


@dataclass(frozen=True)
class Answered:
    """What the respondent did."""

    model_id: str
    model: str
    num_questions: int
    num_answered: int
    failed: Sequence[Failed]
    spent: Spent


@dataclass(frozen=True)
class Judged:
    """What the judge did; `reservations` say why the scores are not comparable with published ones."""

    judge_id: str
    model: str
    prompts: str
    scores: Scores
    failed: Sequence[Failed]
    spent: Spent
    reservations: Sequence[str]


@dataclass(frozen=True)
class Evaluation:
    """All of it; `judged` None: only answers were asked for."""

    plan: EvaluationPlan
    answered: Answered
    judged: Judged | None

    @property
    def is_complete(self) -> bool:
        """Whether every question has an answer, and every answer a judgment."""
        return not self.answered.failed and (self.judged is None or not self.judged.failed)


@dataclass(frozen=True)
class _Work:
    plan: EvaluationPlan
    folder: SuiteFolder
    questions: list[Question]
    num_all: int
    progress: Progress


async def evaluate(plan: EvaluationPlan, progress: Progress) -> Evaluation:
    """Do what of the plan its folder does not have yet.

    Raises:
        InputError: a file is not what the suite needs.
        OccupiedError: the folder holds other questions, other answers or other judgments under these names.
        OutputError: the folder cannot be written.
        SpeakerError: a side is away, refuses the key, or does not serve the model. What was done is kept.
    """
    every, questions = read_plan_questions(plan)
    prompts = judge_prompts(plan.suite, plan.judge.prompts) if plan.judge is not None else None
    folder = SuiteFolder(plan.out)
    with held(plan.out, busy="another platolm eval is writing to"):
        work = _Work(plan, folder, questions, len(every), progress)
        async with AsyncExitStack() as open_ends:
            respondent = await open_ends.enter_async_context(open_endpoint(plan.respondent))
            judge = await open_ends.enter_async_context(open_endpoint(plan.judge.endpoint)) if plan.judge else None
            folder.keep_questions(every)
            answered, answers = await _answer(work, respondent)
            if plan.judge is None or judge is None or prompts is None:
                return Evaluation(plan, answered, None)
            return Evaluation(plan, answered, await _judge(work, plan.judge, judge, prompts, answered, answers))


async def _answer(work: _Work, respondent: Endpoint) -> tuple[Answered, Journal]:
    plan = work.plan
    model_id = plan.model_id or name_of_model(respondent.model)
    answering = Answering(plan.suite, respondent, model_id, plan.sampling)
    with open_journal(work.folder.answers(model_id)) as journal:
        num_before = len(journal.rows)
        had = answers_by_question(journal.rows)
        step = work.progress.begin("answers", sum(question.id not in had for question in work.questions))
        failed = await answering.answer(work.questions, journal, step)
    answers = answers_by_question(journal.rows)
    if plan.suite.judging is Judging.PAIR:
        outputs = model_outputs(work.questions, answers, model_id)
        work.folder.write_json(work.folder.alpaca_eval(model_id) / "model_outputs.json", outputs)
    num_answered = sum(question.id in answers for question in work.questions)
    in_vain = sum((one.usage for one in failed), start=Usage())
    spent = Spent(usage_of(journal.rows[num_before:]) + in_vain, usage_of(journal.rows) + in_vain)
    answered = Answered(model_id, respondent.model, len(work.questions), num_answered, failed, spent)
    return answered, journal


async def _judge(
    work: _Work,
    judge_plan: JudgePlan,
    judge: Endpoint,
    prompts: JudgePrompts,
    answered: Answered,
    answers_journal: Journal,
) -> Judged:
    answers = answers_by_question(answers_journal.rows)
    tasks = _tasks(work, prompts, answers)
    judge_id = judge_plan.judge_id or name_of_model(judge.model)
    judging = JudgeWork(judge, judge_id, answered.model_id, judge_plan.settings)
    with open_journal(work.folder.judgments(judge_id, work.plan.suite.judging)) as journal:
        num_before = len(journal.rows)
        step = work.progress.begin("judgments", len(tasks) - len(judging.rows_of(tasks, journal)))
        failed = await judging.judge_all(tasks, journal, step)
        judgments = judging.rows_of(tasks, journal)
    if work.plan.suite.judging is Judging.PAIR:
        made = pair_annotations(work.questions, answers, judgments, answered.model_id, judge_id)
        work.folder.write_json(work.folder.alpaca_eval(answered.model_id) / "annotations.json", made)
    of_model = [row for row in journal.rows if row.get("model") == answered.model_id]
    spent = Spent(usage_of(journal.rows[num_before:]), usage_of(of_model))
    return _judged(work, judge, judge_id, prompts, judgments, failed, spent)


def _tasks(work: _Work, prompts: JudgePrompts, answers: dict[int | str, Row]) -> list[JudgeTask]:
    if work.plan.suite.judging is Judging.PAIR:
        return pair_tasks(work.questions, answers, prompts)
    return single_tasks(work.plan.suite, work.questions, answers, prompts)


def _judged(
    work: _Work,
    judge: Endpoint,
    judge_id: str,
    prompts: JudgePrompts,
    judgments: dict[TaskKey, Row],
    failed: Sequence[Failed],
    spent: Spent,
) -> Judged:
    suite = work.plan.suite
    scores = summarise(scores_of(work.questions, judgments, scale=suite.scale))
    scored = {question_id for question_id, _ in judgments}
    judged = [question for question in work.questions if question.id in scored]
    said = reservations(work.plan, prompts, judge.model, judged, work.num_all)
    return Judged(judge_id, judge.model, prompts.source, scores, failed, spent, said)
