"""The options of `platolm eval`."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

RESPONDENT_KEY_ENV = "PLATOLM_EVAL_API_KEY"
JUDGE_KEY_ENV = "PLATOLM_JUDGE_API_KEY"

_RESPONDENT, _JUDGE = "The respondent", "The judge"
_KEY_HELP = "Its key, where it wants one. Better in the environment: others of this machine can read a command line."
_PRICE_HELP = "Price of a million tokens, in and out."


class SuiteName(StrEnum):
    """Names of `curation.evaluation.suites.SUITES`."""

    MT_BENCH = "mt-bench"
    VICUNA_BENCH = "vicuna-bench"
    ALPACA_EVAL = "alpaca-eval"


EndpointArgument = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Address of the respondent, ending in /v1.")]
SuiteOption = Annotated[SuiteName, typer.Option(help="What it is asked.")]
QuestionsOption = Annotated[
    Path,
    typer.Option(metavar="FILE", help="The suite's questions: its question.jsonl, or AlpacaEval's alpaca_eval.json."),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", help="Folder of answers, judgments and scores. Default: runs/eval/SUITE.", show_default=False
    ),
]
ReferencesOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Reference answers: a file of FastChat's reference_answer, or outputs in AlpacaEval's form. Default: "
        "those in the questions.",
        show_default=False,
    ),
]
FirstOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Only the first N questions.", show_default=False)
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]

ModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Its model. Default: the one it serves.",
        show_default=False,
        rich_help_panel=_RESPONDENT,
    ),
]
ModelIdOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Its name in the files. Default: made of the model's.",
        show_default=False,
        rich_help_panel=_RESPONDENT,
    ),
]
ApiKeyOption = Annotated[
    str | None,
    typer.Option(
        envvar=RESPONDENT_KEY_ENV, metavar="KEY", help=_KEY_HELP, show_default=False, rich_help_panel=_RESPONDENT
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        metavar="T",
        help="For every question. Default: the suite's, by category.",
        show_default=False,
        rich_help_panel=_RESPONDENT,
    ),
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        help="Of an answer. Default: the suite's.",
        show_default=False,
        rich_help_panel=_RESPONDENT,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Sent with each request.", show_default=False, rich_help_panel=_RESPONDENT),
]
SystemOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT", help="A system prompt. Default: none.", show_default=False, rich_help_panel=_RESPONDENT
    ),
]
ConcurrencyOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Questions at a time.", rich_help_panel=_RESPONDENT)
]
PriceOption = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="IN OUT", help=_PRICE_HELP, show_default=False, rich_help_panel=_RESPONDENT),
]

JudgeOption = Annotated[
    str | None,
    typer.Option(
        metavar="ENDPOINT",
        help="Address of an OpenAI-compatible judge, ending in /v1. Default: answers only.",
        show_default=False,
        rich_help_panel=_JUDGE,
    ),
]
JudgeModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Its model. Default: the one it serves.", show_default=False, rich_help_panel=_JUDGE
    ),
]
JudgeIdOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Its name in the files. Default: made of the model's.",
        show_default=False,
        rich_help_panel=_JUDGE,
    ),
]
JudgeApiKeyOption = Annotated[
    str | None,
    typer.Option(envvar=JUDGE_KEY_ENV, metavar="KEY", help=_KEY_HELP, show_default=False, rich_help_panel=_JUDGE),
]
JudgePromptsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="FastChat's judge_prompts.jsonl, or AlpacaEval's alpaca_eval.txt. Default: AlpacaEval's where the package "
        "alpaca-eval is installed; else prompts of our own, whose scores are not comparable with published ones.",
        show_default=False,
        rich_help_panel=_JUDGE,
    ),
]
JudgeSetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--judge-set",
        metavar="KEY=JSON",
        help="Change a field of the judge's requests; null leaves it out: max_tokens=null, reasoning_effort=low.",
        show_default=False,
        rich_help_panel=_JUDGE,
    ),
]
JudgeConcurrencyOption = Annotated[
    int, typer.Option(min=1, metavar="N", help="Judgments at a time.", rich_help_panel=_JUDGE)
]
JudgePriceOption = Annotated[
    tuple[float, float] | None,
    typer.Option(metavar="IN OUT", help=_PRICE_HELP, show_default=False, rich_help_panel=_JUDGE),
]
