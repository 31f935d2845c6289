"""Saved talks: a dataset in the layout of a run's, of id `talks`, a talk to a segment.

Several API processes may save at once: one of them takes the manifest's next number, and with it the talk's index; the
others take the one behind. A talk counts from that moment on: a process that is killed leaves no half of one.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import orjson

from platolm.conversation import ASSISTANT, USER, Message, TerminationReason, to_sharegpt
from platolm.dataset import MANIFEST_FOLDER, RUN_FILE, SEGMENTS_FOLDER, iter_manifest, segment_records
from platolm.dialogues_api import TALKS_RUN_ID, DialogueSide, TalkPage, TalkRequest, TalkSummary, TalkTurn
from platolm.dyadic import PLATOLM, SOCRATIC
from platolm.endings import FinishReason, goodbye_at, kept_turns
from platolm.errors import InputError, OutputError
from platolm.marks import Mark, MarkRequest, keep_mark, read_marks
from platolm.runs import RunProgress, RunState, conversation_id
from platolm.segments import Record
from platolm.simulators.cleaning import End
from platolm.simulators.guardrails import Fault
from platolm.spec import RunSpec, SeedMode, speaker_profile
from platolm.storage import Place
from services.orchestrator.datasets.dataset_writer import DatasetWriter

MAX_TALKS = 1_000_000
TALKS_SPEC = RunSpec(conversations=MAX_TALKS, name="Saved talks")
PERSON = "person"
"""In a model's place where a person wrote all that a side said."""

_OPENING_CHARS = 200
_GIVEN = "seed"


class Talks:
    """The dataset of saved talks. Its methods block; several threads may call them."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._writer: DatasetWriter | None = None
        self._last_entry = 0
        self._saving, self._counting = Lock(), Lock()

    def count(self) -> int:
        """How many talks are saved.

        Raises:
            OutputError: the folder does not answer.
        """
        with self._counting:
            for entry in iter_manifest(self.place, after=self._last_entry):
                self._last_entry = entry.number
            return self._last_entry

    def progress(self) -> RunProgress:
        """The talks as a run that is over, for what reads a run's dataset."""
        count = self.count()
        return RunProgress(
            id=TALKS_RUN_ID,
            state=RunState.COMPLETED,
            spec=TALKS_SPEC,
            created_at=0.0,
            fed=count,
            in_flight=0,
            finished=count,
            committed=count,
        )

    def save(self, talk: TalkRequest) -> int:
        """Put a talk into the dataset; gives its index.

        Raises:
            InputError: nothing of it is left to save.
            OutputError: the folder cannot be written, or is full.
        """
        fields = record_fields(talk)
        with self._saving:
            try:
                index = self._saved(fields)
            except BaseException:
                self._writer = None  # it remembers a segment that the next talk must not take for its own
                raise
        if talk.mark is not None:
            keep_mark(self.place, index, MarkRequest(mark=talk.mark))
        return index

    def _saved(self, fields: Record) -> int:
        writer = self._opened()
        while True:
            writer.refresh()
            index = len(writer.committed)
            if index >= MAX_TALKS:
                raise OutputError(f"{self.place} holds {MAX_TALKS} talks: move it away to begin another")
            record = {"id": conversation_id(TALKS_RUN_ID, index), "run_id": TALKS_RUN_ID, "index": index, **fields}
            if writer.commit({index: orjson.dumps(record).decode()}).num_records:
                return index

    def _opened(self) -> DatasetWriter:
        if self._writer is None:
            self.place.make(SEGMENTS_FOLDER, MANIFEST_FOLDER)
            self.place.create(RUN_FILE, TALKS_SPEC.model_dump_json(indent=1).encode())
            self._writer = DatasetWriter(self.place, conversations=MAX_TALKS)
        return self._writer

    def page(self, *, before: int | None, limit: int) -> TalkPage:
        """Up to `limit` talks, the newest first, those below manifest number `before`.

        Raises:
            OutputError: one cannot be read.
        """
        last = self.count() if before is None else min(before - 1, self.count())
        numbers = range(last, max(last - limit, 0), -1)
        records = [record for number in numbers for record in self._records(number)]
        marks = read_marks(self.place, [record["index"] for record in records])
        return TalkPage(
            talks=[_summary(record, marks.get(record["index"])) for record in records],
            next_cursor=str(numbers[-1]) if numbers and numbers[-1] > 1 else None,
        )

    def _records(self, number: int) -> Iterator[Record]:
        entry = next(iter_manifest(self.place, after=number - 1), None)
        if entry is not None:
            yield from segment_records(self.place, entry)


@dataclass(frozen=True)
class _Said:
    """A turn as the rules look at it."""

    role: str
    content: str
    finish_reason: FinishReason
    end: End | None = None
    fault: Fault | None = None


def record_fields(talk: TalkRequest) -> Record:
    """A `platolm.dataset.ConversationRecord` of a talk, but for what its index decides; `title` beside it.

    Raises:
        InputError: what ended it was all that was said.
    """
    turns = _kept(talk)
    goodbye = goodbye_at([_said(turn) for turn in talk.turns])
    now = round(time.time(), 3)
    return {
        "title": talk.title,
        "conversations": to_sharegpt([Message(turn.role, turn.content) for turn in turns]),
        "num_rounds": sum(turn.role == ASSISTANT for turn in turns),
        "termination_reason": talk.termination_reason or TerminationReason.CANCELLED,
        "goodbye_at": goodbye,
        "goodbye_end": None if goodbye is None else talk.turns[goodbye].end,
        "simulator": _side(SOCRATIC.name, talk.simulator, USER, turns),
        "respondent": _side(PLATOLM.name, talk.respondent, ASSISTANT, turns),
        "seed": talk.seed,
        "seed_mode": SeedMode.QUESTION if turns[0].finish_reason == _GIVEN else SeedMode.FREE,
        "seed_line": None,
        "seed_ended": None,
        "turns": [_turn(turn) for turn in turns],
        "started_at": now if talk.started_at is None else min(talk.started_at, now),
        "finished_at": now,
    }


def _summary(record: Record, mark: Mark | None) -> TalkSummary:
    said = record["conversations"]
    return TalkSummary(
        id=record["id"],
        title=record.get("title"),
        opening=said[0]["value"][:_OPENING_CHARS],
        num_turns=len(said),
        num_rounds=record["num_rounds"],
        num_tokens=sum(turn["num_tokens"] for turn in record["turns"]),
        termination_reason=record["termination_reason"],
        simulator=record["simulator"]["model"],
        respondent=record["respondent"]["model"],
        saved_at=record["finished_at"],
        mark=mark,
    )


def _kept(talk: TalkRequest) -> Sequence[TalkTurn]:
    """The turns without what ended the talk; all of them where a person stopped it."""
    if talk.termination_reason is None:
        return talk.turns
    said = [_said(turn) for turn in talk.turns]
    kept = talk.turns[: kept_turns(said, talk.termination_reason)]
    if not kept:
        raise InputError("nothing is left to save: what ended the talk was all that was said in it")
    return kept


def _said(turn: TalkTurn) -> _Said:
    return _Said(turn.role, turn.content, _finish_reason(turn), turn.end)


def _finish_reason(turn: TalkTurn) -> FinishReason:
    return FinishReason.STOP if turn.finish_reason == "stopped" else FinishReason(turn.finish_reason)


def _side(usual: str, side: DialogueSide, role: str, turns: Sequence[TalkTurn]) -> dict[str, Any]:
    """What a record says of a side; its profile is `usual` where no model's server told of one."""
    own = [turn for turn in turns if turn.role == role]
    models = [turn.model for turn in own if turn.model]
    profile = next((turn.profile for turn in reversed(own) if turn.profile), usual)
    return {
        "profile": profile,
        "model": models[-1] if models else PERSON,
        "sampling": speaker_profile(profile).sampling(side.sampling).model_dump(),
        "system_prompt": side.system_prompt,
    }


def _turn(turn: TalkTurn) -> dict[str, Any]:
    """A `platolm.dataset.TurnRecord`. Its ids are not known: a person may have changed the text since."""
    unknown = {"token_ids": None, "faults": None, "goodbye_probability": None, "api": None}
    return {**turn.model_dump(exclude={"content", "model", "profile"}), **unknown}
