"""`platolm runs conversations`, `conversation` and `dead`: looking into a run."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from platolm.cli.api_access import ApiKeyOption, ApiOption, at_api
from platolm.cli.console import output_console, print_notice, printable
from platolm.cli.dialogue import dialogue_panel
from platolm.cli.runs.lookup import JsonOption, RunArgument, find_run
from platolm.cli.runs.tables import conversations_table, dead_table
from platolm.client import DEFAULT_API_URL, OrchestratorClient
from platolm.conversation import Message
from platolm.runs import DeadConversation
from platolm.runs_api import (
    DEFAULT_PAGE_SIZE,
    MAX_PAGE_SIZE,
    ConversationDetail,
    ConversationPage,
    ConversationState,
    ConversationSummary,
)


def conversations(
    run: RunArgument,
    state: Annotated[
        ConversationState | None, typer.Option(help="Only those in this state.", show_default=False)
    ] = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="At most so many.")] = DEFAULT_PAGE_SIZE,
    cursor: Annotated[
        str | None, typer.Option(metavar="CURSOR", help="Where an earlier list ended.", show_default=False)
    ] = None,
    as_json: JsonOption = False,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """List conversations of a run."""

    async def listed(client: OrchestratorClient) -> ConversationPage:
        return await _pages(client, (await find_run(client, run)).id, state, cursor, limit)

    page = at_api(api, api_key, listed)
    if as_json:
        print(json.dumps(page.model_dump(mode="json"), ensure_ascii=False))
        return
    output_console().print(conversations_table(page.conversations))
    if page.next_cursor is not None:
        print_notice(f"there are more: --cursor {page.next_cursor}, or a higher --limit")


def conversation(
    conversation_id: Annotated[str, typer.Argument(metavar="CONVERSATION", help="The conversation's id.")],
    as_json: JsonOption = False,
    api: ApiOption = DEFAULT_API_URL,
    api_key: ApiKeyOption = None,
) -> None:
    """Read one conversation, as far as it is."""

    async def read(client: OrchestratorClient) -> ConversationDetail:
        return await client.conversation(conversation_id)

    detail = at_api(api, api_key, read)
    if as_json:
        print(json.dumps(detail.model_dump(mode="json"), ensure_ascii=False))
        return
    messages = [Message(turn.role, turn.content) for turn in detail.turns]
    output_console().print(dialogue_panel(messages, title=detail.id, subtitle=_outcome(detail)))
    if detail.error:
        print_notice(f"failed {detail.attempts} times in a row, last: {detail.error}")


def dead(
    run: RunArgument, as_json: JsonOption = False, api: ApiOption = DEFAULT_API_URL, api_key: ApiKeyOption = None
) -> None:
    """List the conversations of a run that failed for good, with their errors."""

    async def listed(client: OrchestratorClient) -> list[DeadConversation]:
        return await client.dead((await find_run(client, run)).id)

    found = at_api(api, api_key, listed)
    if as_json:
        print(json.dumps({"dead": [one.model_dump(mode="json") for one in found]}, ensure_ascii=False))
    elif found:
        output_console().print(dead_table(found))
    else:
        print_notice("no conversation is dead")


async def _pages(
    client: OrchestratorClient, run_id: str, state: ConversationState | None, cursor: str | None, limit: int
) -> ConversationPage:
    """So many conversations from the cursor on, in as many calls as it takes."""
    found: list[ConversationSummary] = []
    while True:
        size = min(limit - len(found), MAX_PAGE_SIZE)
        page = await client.conversations(run_id, state=state, cursor=cursor, limit=size)
        found += page.conversations
        cursor = page.next_cursor
        if cursor is None or len(found) >= limit:
            return ConversationPage(conversations=found, next_cursor=cursor)


def _outcome(detail: ConversationDetail) -> str:
    """`finished: context_full`, or the state alone."""
    reason = (detail.record or {}).get("termination_reason")
    return printable(f"{detail.state}: {reason}" if reason else detail.state)
