"""Finding conversations wherever they are: in the queue, among the dead, waiting for the dataset, or in it."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from platolm.dataset import segment_records
from platolm.errors import InputError
from platolm.runs import DeadConversation, RunProgress
from platolm.runs_api import ConversationPage, ConversationState, ConversationSummary
from platolm.segments import Record
from services.orchestrator.datasets.run_place import RunPlace
from services.orchestrator.queue import Queue

Stage = Literal["queue", "dead", "unwritten", "written"]

STAGES: tuple[Stage, ...] = ("queue", "dead", "unwritten", "written")
"""In the order in which a conversation passes them, so that a listing of a run that goes on misses none of those that
were there at its beginning; one that moves on meanwhile may come twice."""

_STAGES_OF: dict[ConversationState | None, tuple[Stage, ...]] = {
    None: STAGES,
    ConversationState.QUEUED: ("queue",),
    ConversationState.IN_FLIGHT: ("queue",),
    ConversationState.DEAD: ("dead",),
    ConversationState.FINISHED: ("unwritten", "written"),
}
_MAX_UNWRITTEN = 8192


class CursorError(InputError):
    """A cursor that no answer gave."""


class Cursor(BaseModel):
    """Where a listing goes on: behind `entry` of the queue, at `index`, or at record `offset` of manifest entry
    `number`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    stage: Stage
    entry: str = Field("", pattern=r"^([0-9]{1,19}-[0-9]{1,19})?$")
    index: int = Field(0, ge=0, le=10**9)
    number: int = Field(1, ge=1, le=10**8 - 1)
    offset: int = Field(0, ge=0, le=10**9)

    def encoded(self) -> str:
        return base64.urlsafe_b64encode(self.model_dump_json(exclude_defaults=True).encode()).decode()

    @classmethod
    def decoded(cls, text: str) -> Cursor:
        """The cursor that was given out.

        Raises:
            CursorError: it was not given out by this API.
        """
        try:
            return cls.model_validate_json(base64.b64decode(text.encode(), altchars=b"-_", validate=True))
        except (ValidationError, binascii.Error, UnicodeEncodeError) as error:
            raise CursorError("this cursor is none that an answer gave") from error


@dataclass(frozen=True)
class Listing:
    """The conversations of one run."""

    queue: Queue
    place: RunPlace
    run: RunProgress

    async def page(self, state: ConversationState | None, cursor: Cursor | None, limit: int) -> ConversationPage:
        """Up to `limit` conversations from the cursor on; a page that is shorter need not be the last.

        Raises:
            CursorError: the cursor is of a listing of another state.
            OutputError: the dataset's place does not answer.
        """
        stages = _STAGES_OF[state]
        at: Cursor | None = cursor or Cursor(stage=stages[0])
        assert at is not None
        if at.stage not in stages:
            raise CursorError(f"this cursor is not of a listing of state {state}")
        found: list[ConversationSummary] = []
        for stage in stages[stages.index(at.stage) :]:
            here = at if at is not None and at.stage == stage else Cursor(stage=stage)
            if len(found) >= limit:
                return ConversationPage(conversations=found, next_cursor=here.encoded())
            summaries, at = await self._readers[stage](here, limit - len(found))
            found += [summary for summary in summaries if state in (None, summary.state)]
            if at is not None:
                return ConversationPage(conversations=found, next_cursor=at.encoded())
        return ConversationPage(conversations=found)

    @property
    def _readers(
        self,
    ) -> dict[Stage, Callable[[Cursor, int], Awaitable[tuple[list[ConversationSummary], Cursor | None]]]]:
        return {"queue": self._queued, "dead": self._dead, "unwritten": self._unwritten, "written": self._written}

    async def _queued(self, at: Cursor, limit: int) -> tuple[list[ConversationSummary], Cursor | None]:
        rows, after = await self.queue.queued_page(self.run.id, after=at.entry, limit=limit)
        found = [
            ConversationSummary(
                id=row.id,
                index=row.index,
                state=ConversationState(row.state),
                num_turns=row.num_turns,
                num_rounds=row.num_turns // 2,
            )
            for row in rows
        ]
        return found, None if after is None else Cursor(stage="queue", entry=after)

    async def _dead(self, at: Cursor, limit: int) -> tuple[list[ConversationSummary], Cursor | None]:
        indices = [index for index in await self.queue.dead_indices(self.run.id) if index >= at.index]
        letters = await self.queue.dead_letters(self.run.id, indices[:limit])
        found = [_dead_summary(letter) for letter in letters]
        return found, Cursor(stage="dead", index=indices[limit]) if len(indices) > limit else None

    async def _unwritten(self, at: Cursor, limit: int) -> tuple[list[ConversationSummary], Cursor | None]:
        records = await self.queue.finished_records(self.run.id, limit=_MAX_UNWRITTEN)
        indices = sorted(index for index in records if index >= at.index)
        found = [finished_summary(orjson.loads(records[index])) for index in indices[:limit]]
        return found, Cursor(stage="unwritten", index=indices[limit]) if len(indices) > limit else None

    async def _written(self, at: Cursor, limit: int) -> tuple[list[ConversationSummary], Cursor | None]:
        return await asyncio.to_thread(written_page, self.place, at, limit)


def _dead_summary(letter: str) -> ConversationSummary:
    dead = DeadConversation.model_validate_json(letter)
    num_turns = len(letter_turns(letter))
    return ConversationSummary(
        id=dead.id,
        index=dead.index,
        state=ConversationState.DEAD,
        num_turns=num_turns,
        num_rounds=num_turns // 2,
        error=dead.error,
    )


def written_page(place: RunPlace, at: Cursor, limit: int) -> tuple[list[ConversationSummary], Cursor | None]:
    """Up to `limit` conversations of the dataset, in the order of commitment.

    Raises:
        OutputError: the place does not answer.
    """
    found: list[ConversationSummary] = []
    offset = at.offset
    for entry in place.manifest(after=at.number - 1):
        if len(found) >= limit:
            return found, Cursor(stage="written", number=entry.number)
        wanted = limit - len(found)
        records = islice(segment_records(place.place, entry), offset, offset + wanted)
        found += map(finished_summary, records)
        if offset + wanted < len(entry.indices):
            return found, Cursor(stage="written", number=entry.number, offset=offset + wanted)
        offset = 0
    return found, None


def finished_summary(record: Record) -> ConversationSummary:
    """A record in one line of a list."""
    return ConversationSummary(
        id=record["id"],
        index=record["index"],
        state=ConversationState.FINISHED,
        num_turns=len(record["conversations"]),
        num_rounds=record["num_rounds"],
        termination_reason=record["termination_reason"],
    )


def letter_turns(letter: str) -> Sequence[dict[str, Any]]:
    """What had been said in a dead conversation, as workers recorded it."""
    return [orjson.loads(turn) for turn in orjson.loads(orjson.loads(letter)["turns"])]
