"""`platolm chat`: talk with the respondent, be questioned by the simulator, or watch the two and step in."""

from __future__ import annotations

import asyncio
import sys
from enum import StrEnum
from typing import Annotated

import typer

from platolm.cli.api_access import ApiKeyOption, ApiOption, with_advice
from platolm.cli.chat.lines import Lines
from platolm.cli.chat.screen import Screen
from platolm.cli.chat.session import ChatSession
from platolm.cli.chat.talk import Talk
from platolm.cli.console import EXIT_INTERRUPTED
from platolm.client import DEFAULT_API_URL, OrchestratorClient
from platolm.conversation import ASSISTANT, USER
from platolm.dialogues_api import MAX_UTTERANCES
from platolm.errors import ApiError

DEFAULT_NUM_TURNS = 6

CHAT_EPILOG = """
**Examples**

- `platolm chat`: ask the respondent

- `platolm chat --as assistant`: be questioned by the simulator

- `platolm chat --as watch --opening "Why is the sky blue?"`: both speak; a line of yours steps in for whoever is next

- `echo "Why is the sky blue?" | platolm chat`: one answer, as plain lines

- `platolm chat --as watch --num-turns 10 --json < /dev/null > talk.jsonl`: for a script

In the talk: `/regenerate`, `/undo`, `/edit N TEXT`, `/system TEXT`, `/save TITLE`, `/help`, `/quit`. Ctrl-C stops the
utterance, and at the prompt quits.
"""


class Part(StrEnum):
    """Whom a person speaks as."""

    USER = "user"
    ASSISTANT = "assistant"
    WATCH = "watch"


_ROLES = {Part.USER: USER, Part.ASSISTANT: ASSISTANT, Part.WATCH: None}


def chat(
    part: Annotated[
        Part, typer.Option("--as", help="Who you are: the user who asks, the assistant who answers, or nobody.")
    ] = Part.USER,
    opening: Annotated[
        str | None, typer.Option(metavar="TEXT", help="The user's first message.", show_default=False)
    ] = None,
    num_turns: Annotated[
        int, typer.Option(min=1, max=MAX_UTTERANCES, metavar="N", help="Utterances at a time, with --as watch.")
    ] = DEFAULT_NUM_TURNS,
    seed: Annotated[
        int | None,
        typer.Option(min=0, metavar="N", help="The same seed and words give the same answers.", show_default="any"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print each turn as a line of JSON, for a script.")] = False,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Talk with the models: ask the respondent, be questioned by the simulator, or watch both and step in.

    It goes through the API of a running stack (`platolm up`). Utterances come word by word; where the output is piped,
    an utterance is a line that begins with its role.
    """
    talk = Talk(person=_ROLES[part], num_turns=num_turns, seed=seed)
    if opening is not None:
        talk.open(opening)
    lines = Lines()
    screen = Screen(as_json=as_json, echo=not (lines.are_typed and sys.stdout.isatty()))
    try:
        with asyncio.Runner() as runner:
            client = OrchestratorClient(api, api_key=api_key)
            runner.run(client.__aenter__())
            try:
                ChatSession(talk, client, runner, screen=screen, lines=lines).run()
            finally:
                runner.run(client.__aexit__(None, None, None))
    except ApiError as error:
        raise with_advice(error) from error
    except KeyboardInterrupt:
        raise typer.Exit(EXIT_INTERRUPTED) from None
