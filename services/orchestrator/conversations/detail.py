"""One conversation with all that was said, wherever it is."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson

from platolm.conversation import from_sharegpt
from platolm.marks import read_marks
from platolm.runs import RunProgress, RunState, conversation_id
from platolm.runs_api import ConversationDetail, ConversationState, ConversationTurn
from platolm.segments import Record
from services.orchestrator.conversations.listing import letter_turns
from services.orchestrator.datasets.run_place import RunPlace
from services.orchestrator.queue import Queue

_LOOKS = 2
"""A conversation may be between two of the places that are looked at: one look more finds it."""


async def conversation_detail(queue: Queue, place: RunPlace, run: RunProgress, index: int) -> ConversationDetail | None:
    """A run's conversation `index`; None where the run has none, or gave it up.

    Raises:
        OutputError: the dataset's place does not answer.
    """
    if index >= run.spec.conversations:
        return None
    for _ in range(_LOOKS):
        found = await _in_queue(queue, run, index) or await _dead(queue, run, index)
        found = found or await _finished(queue, place, run, index)
        if found is not None:
            return await _with_mark(found, place)
    goes_on = run.state in (RunState.RUNNING, RunState.PAUSED)
    if index < run.fed or not goes_on:
        return None
    return _detail(run, index, ConversationState.QUEUED)  # its turn to be fed has not come


async def _with_mark(found: ConversationDetail, place: RunPlace) -> ConversationDetail:
    marks = await asyncio.to_thread(read_marks, place.place, [found.index])
    return found.model_copy(update={"mark": marks.get(found.index)})


async def _in_queue(queue: Queue, run: RunProgress, index: int) -> ConversationDetail | None:
    found = await queue.queued_conversation(conversation_id(run.id, index))
    if found is None:
        return None
    turns = [ConversationTurn(**orjson.loads(turn)) for turn in found.turns]
    return _detail(run, index, ConversationState(found.state), attempts=found.attempts, turns=turns)


async def _dead(queue: Queue, run: RunProgress, index: int) -> ConversationDetail | None:
    letter = await queue.dead_letter(run.id, index)
    if letter is None:
        return None
    fields = orjson.loads(letter)
    turns = [ConversationTurn(**turn) for turn in letter_turns(letter)]
    return _detail(run, index, ConversationState.DEAD, attempts=fields["attempts"], error=fields["error"], turns=turns)


async def _finished(queue: Queue, place: RunPlace, run: RunProgress, index: int) -> ConversationDetail | None:
    waiting = await queue.finished_record(run.id, index)
    record = orjson.loads(waiting) if waiting else await asyncio.to_thread(place.find, index)
    if record is None:
        return None
    return _detail(run, index, ConversationState.FINISHED, turns=_record_turns(record), record=record)


def _record_turns(record: Record) -> list[ConversationTurn]:
    said = from_sharegpt(record).messages
    return [
        ConversationTurn(**{**how, "role": message.role, "content": message.content})
        for message, how in zip(said, record["turns"], strict=True)
    ]


def _detail(run: RunProgress, index: int, state: ConversationState, **fields: Any) -> ConversationDetail:
    return ConversationDetail(id=conversation_id(run.id, index), run_id=run.id, index=index, state=state, **fields)
