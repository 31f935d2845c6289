"""The options that make up a run's spec; one that is not given is None, its default is the spec's own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from platolm.respondents import RESPONDENTS
from platolm.sampling import DEFAULT_MAX_TOKENS, DEFAULT_TEMPERATURE
from platolm.simulators import PROFILES as SIMULATORS
from platolm.spec import (
    DEFAULT_CONTEXT_TOKENS,
    OutputFormat,
    SeedMode,
)

CONVERSATIONS_PANEL, SIDES_PANEL, DATASET_PANEL = "The conversations", "The two sides", "The dataset"

SpecArgument = Annotated[
    Path | None,
    typer.Argument(
        metavar="SPEC",
        help="A run's spec as YAML or JSON (`platolm run --show` prints one). It may name a seed file: `seeds: FILE`. "
        "Options count more than the file.",
        show_default=False,
    ),
]
SeedsOption = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Seed file: JSON lines or a JSON list, .gz and .zst too, or a run's folder. A record gives `question`, "
        "`instruction` or `prompt` (and `answer` for exchange mode), or is a ShareGPT or OpenAI conversation, as it is "
        "for continue and reanswer mode; for intent mode it gives `intent`, `goal`, `persona` or `profile`, and a "
        "`question` if it is to be said first.",
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
ConversationsOption = Annotated[
    int | None,
    typer.Option(
        "--conversations",
        "-n",
        metavar="N",
        help="How many. Default: one for each seed and repeat, 64 in free mode. "
        "More than there are seeds: the seeds are used again, in turn.",
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
SeedModeOption = Annotated[
    SeedMode | None,
    typer.Option(
        metavar="MODE",
        help="What a seed gives: nothing (free), the first question (question), the first question and its "
        "answer (exchange), what the simulator is told of its user (intent), a conversation that both sides go on "
        "with (continue), or one of which the respondent answers every user turn again (reanswer). "
        "Default: continue with --from-turn, else question with --seeds, else free.",
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
FromTurnOption = Annotated[
    int | None,
    typer.Option(
        metavar="K",
        help="In continue mode: the first K turns of a seed stand, word for word, all where it has fewer; "
        "-K: all but the last K. Default: all.",
        show_default=False,
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
RepeatsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Conversations that start from each seed. Default: 1.",
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(metavar="N", help="Random seed of the run. Default: 0.", rich_help_panel=CONVERSATIONS_PANEL),
]
ContextTokensOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help=f"A conversation ends when its tokens would exceed this. Default: {DEFAULT_CONTEXT_TOKENS}.",
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
MinTurnsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="An utterance that would end the conversation before so many is generated again a few times. Default: 0.",
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
MaxTurnsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="At most so many utterances of both sides together.",
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
StopPhraseOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="TEXT",
        help="End when the user says this. Give it again for more.",
        show_default=False,
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
GoodbyeThresholdOption = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        help="Probability, up to 1, from which a simulator's utterance counts as a goodbye although it said none. "
        "For simulators whose goodbye is one token, on engines that tell of it. Default: it must say it.",
        show_default=False,
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
ExtraTurnsOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Utterances of both sides to make after the simulator's goodbye, to see what it would have missed. "
        "Default: 0.",
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
MaxInFlightOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="At most so many conversations of this run at a time. Default: as many as the engines hold.",
        rich_help_panel=CONVERSATIONS_PANEL,
    ),
]
SimulatorProfileOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"How the simulator is prompted: {', '.join(SIMULATORS)}. Default: socratic.",
        rich_help_panel=SIDES_PANEL,
    ),
]
InstructionOption = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|TEXT",
        help="What the simulator is told, in your words instead of its profile's; {intent}, {goal}, {persona}, "
        "{profile}, {system_prompt} and {end_marker} are filled in, {{ and }} are braces.",
        show_default=False,
        rich_help_panel=SIDES_PANEL,
    ),
]
RespondentProfileOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help=f"How the respondent is prompted: {', '.join(RESPONDENTS)}. Default: platolm.",
        rich_help_panel=SIDES_PANEL,
    ),
]
SimulatorModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Model to ask the simulator for. Default: the one served.", rich_help_panel=SIDES_PANEL
    ),
]
RespondentModelOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Model to ask the respondent for. Default: the one served.", rich_help_panel=SIDES_PANEL
    ),
]
SimulatorApiOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=WEIGHT]",
        help="Ask this chat API for the simulator, by its name in the operator's file, instead of an engine; its "
        "profile is then roleplay unless you name another. Give it again for several at once: each conversation stays "
        "with one of them, as often as their weights (1) say.",
        show_default=False,
        rich_help_panel=SIDES_PANEL,
    ),
]
RespondentApiOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME[=WEIGHT]",
        help="The same for the respondent: OpenAI, Azure, llama.cpp, ..., see docs/outside-apis.md. Its profile is "
        "then chat unless you name another.",
        show_default=False,
        rich_help_panel=SIDES_PANEL,
    ),
]
BudgetOption = Annotated[
    float | None,
    typer.Option(
        metavar="AMOUNT",
        help="Pause before more than this is spent on chat APIs, in the currency of the operator's prices; "
        "`platolm runs resume RUN --budget MORE` goes on. Default: no limit.",
        show_default=False,
        rich_help_panel=SIDES_PANEL,
    ),
]
TemperatureOption = Annotated[
    float | None,
    typer.Option(
        metavar="T",
        help="Sampling temperature of both sides. "
        f"Default: the profile's, {DEFAULT_TEMPERATURE} for socratic and platolm.",
        rich_help_panel=SIDES_PANEL,
    ),
]
MaxTokensOption = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help=f"New tokens that an utterance of either side may take. Default: {DEFAULT_MAX_TOKENS}.",
        rich_help_panel=SIDES_PANEL,
    ),
]
NameOption = Annotated[
    str | None, typer.Option(metavar="TEXT", help="What to call the run in lists.", rich_help_panel=CONVERSATIONS_PANEL)
]
OutputFormatOption = Annotated[
    OutputFormat | None,
    typer.Option(
        "--format",
        metavar="FORMAT",
        help="How the dataset's segments are written: jsonl or parquet. `sharegpt.jsonl` comes with both. "
        "Default: jsonl.",
        rich_help_panel=DATASET_PANEL,
    ),
]
OutputUrlOption = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="Where the orchestrator keeps the dataset, such as s3://bucket/folder; its operator must allow it. "
        "Default: its data folder.",
        rich_help_panel=DATASET_PANEL,
    ),
]
SkipBadOption = Annotated[
    bool,
    typer.Option("--skip-bad", help="Leave out unusable lines of the seed file.", rich_help_panel=CONVERSATIONS_PANEL),
]
