"""`platolm eval`: a respondent's score on MT-Bench, Vicuna-Bench or AlpacaEval."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from curation.evaluation.options import (
    JUDGE_KEY_ENV,
    RESPONDENT_KEY_ENV,
    ApiKeyOption,
    ConcurrencyOption,
    EndpointArgument,
    FirstOption,
    JsonOption,
    JudgeApiKeyOption,
    JudgeConcurrencyOption,
    JudgeIdOption,
    JudgeModelOption,
    JudgeOption,
    JudgePriceOption,
    JudgePromptsOption,
    JudgeSetOption,
    MaxTokensOption,
    ModelIdOption,
    ModelOption,
    OutOption,
    PriceOption,
    QuestionsOption,
    ReferencesOption,
    SeedOption,
    SuiteOption,
    SystemOption,
    TemperatureOption,
)
from platolm.cli.console import EXIT_FAILURE, EXIT_INTERRUPTED, message_console, output_console, print_notice
from platolm.errors import InputError

if TYPE_CHECKING:
    from curation.evaluation.evaluate import Evaluation
    from curation.evaluation.plan import EvaluationPlan
    from curation.evaluation.report import Price, Prices

EVAL_EPILOG = """
**Examples**

- `platolm eval http://127.0.0.1:8002/v1 --suite mt-bench --questions question.jsonl`: answers only, in FastChat's files

- `platolm eval http://127.0.0.1:8002/v1 --suite mt-bench --questions question.jsonl --judge https://api.openai.com/v1
  --judge-model gpt-4 --judge-prompts judge_prompts.jsonl --references gpt-4.jsonl`: as MT-Bench is meant; the files are
  those of FastChat's `fastchat/llm_judge/data`

- `platolm eval http://gpu0:8002/v1 --suite alpaca-eval --questions alpaca_eval.json --judge http://gpu1:8000/v1
  --judge-price 2.5 10`: against the outputs in the file, with a judge of one's own and what it costs

- `platolm eval … --first 5`: a trial; the same command without it does the rest

Keys come from PLATOLM_EVAL_API_KEY and PLATOLM_JUDGE_API_KEY. Stopped by Ctrl-C or a crash? The same command goes on;
what has an answer or a judgment is not paid for again. Questions that failed are asked again, and exit code 1 says that
there are some.
"""


def evaluate_command(
    endpoint: EndpointArgument,
    suite: SuiteOption,
    questions: QuestionsOption,
    out: OutOption = None,
    references: ReferencesOption = None,
    first: FirstOption = None,
    as_json: JsonOption = False,
    model: ModelOption = None,
    model_id: ModelIdOption = None,
    api_key: ApiKeyOption = None,
    temperature: TemperatureOption = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    system: SystemOption = None,
    concurrency: ConcurrencyOption = 8,
    price: PriceOption = None,
    judge: JudgeOption = None,
    judge_model: JudgeModelOption = None,
    judge_id: JudgeIdOption = None,
    judge_api_key: JudgeApiKeyOption = None,
    judge_prompts: JudgePromptsOption = None,
    judge_options: JudgeSetOption = None,
    judge_concurrency: JudgeConcurrencyOption = 8,
    judge_price: JudgePriceOption = None,
) -> None:
    """Score a respondent on a suite of the field, beside the paper's figures.

    Answers and judgments are written in the suite's own file formats, one by one, and are never asked for twice.
    """
    from curation.evaluation.answering import AnswerSampling
    from curation.evaluation.endpoint import EndpointSettings
    from curation.evaluation.plan import EvaluationPlan, JudgePlan
    from curation.evaluation.report import Prices
    from curation.evaluation.suites import SUITES

    if judge is None and any((judge_model, judge_id, judge_prompts, judge_options, judge_price)):
        raise InputError("options of the judge need one: --judge ENDPOINT")
    chosen = SUITES[suite]
    judging = None
    if judge is not None:
        options = _options(judge_options or [])
        judge_at = EndpointSettings(
            "judge", judge, JUDGE_KEY_ENV, judge_api_key, judge_model, options, judge_concurrency
        )
        judging = JudgePlan(judge_at, _checked_name(judge_id), judge_prompts)
    plan = EvaluationPlan(
        suite=chosen,
        questions=questions,
        out=out or Path("runs", "eval", chosen.bench_name),
        respondent=EndpointSettings(
            "respondent", endpoint, RESPONDENT_KEY_ENV, api_key, model, concurrency=concurrency
        ),
        sampling=AnswerSampling(max_tokens or chosen.max_tokens, temperature, seed, system),
        model_id=_checked_name(model_id),
        judge=judging,
        references=references,
        first=first,
    )
    evaluation = _evaluated(plan)
    _show(evaluation, Prices(_price(price), _price(judge_price)), as_json=as_json)
    if not evaluation.is_complete:
        raise typer.Exit(EXIT_FAILURE)


def _price(given: tuple[float, float] | None) -> Price | None:
    from curation.evaluation.report import Price

    return None if given is None else Price(*given)


def _checked_name(name: str | None) -> str | None:
    from curation.evaluation.folder import name_of_model

    if name is not None and name_of_model(name) != name:
        raise InputError(f"{name!r} is no name for a file: letters, digits, dots, dashes and underscores")
    return name


def _options(assignments: list[str]) -> dict[str, Any]:
    """`KEY=JSON` each; what is no JSON is a string."""
    options: dict[str, Any] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        if not key or not equals:
            raise InputError(f"--judge-set {assignment}: write KEY=VALUE")
        try:
            options[key] = json.loads(value)
        except ValueError:
            options[key] = value
    return options


def _evaluated(plan: EvaluationPlan) -> Evaluation:
    from curation.evaluation.evaluate import evaluate

    try:
        with _progress() as progress:
            return asyncio.run(evaluate(plan, progress))
    except KeyboardInterrupt:
        print_notice(f"stopped; what was answered and judged is in {plan.out}, and the same command goes on there")
        raise typer.Exit(EXIT_INTERRUPTED) from None


class _Bars:
    """A bar for each part of the work."""

    def __init__(self, bars: Progress) -> None:
        self._bars = bars

    def begin(self, what: str, total: int) -> Callable[[], None]:
        bar = self._bars.add_task(what, total=total)
        return lambda: self._bars.advance(bar)


@contextmanager
def _progress() -> Iterator[_Bars]:
    console = message_console()
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bars:
        yield _Bars(bars)


def _show(evaluation: Evaluation, prices: Prices, *, as_json: bool) -> None:
    from curation.evaluation.folder import SuiteFolder
    from curation.evaluation.report import as_json as json_of
    from curation.evaluation.report import score_table, spending_table, warnings

    content, answered, judged = json_of(evaluation, prices), evaluation.answered, evaluation.judged
    folder = SuiteFolder(evaluation.plan.out)
    if judged is not None:
        folder.write_json(folder.scores(answered.model_id, judged.judge_id), content)
    for warning in warnings(evaluation):
        print_notice(warning)
    if as_json:
        print(json.dumps(content, ensure_ascii=False))
        return
    console = output_console()
    if judged is not None:
        console.print(score_table(evaluation, judged))
    console.print(spending_table(evaluation, prices))
    answers = folder.answers(answered.model_id)
    console.print(f"{answered.num_answered} of {answered.num_questions} questions answered: {answers}", soft_wrap=True)
