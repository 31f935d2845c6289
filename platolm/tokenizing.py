"""A file of conversations as rows of ids and labels: the masks of `platolm.dyadic`, for anyone to look at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platolm.conversation import Conversation, from_record
from platolm.dyadic import DEFAULT_MAX_LENGTH, IGNORE_INDEX, DyadicProfile, Turn, compose
from platolm.errors import BadLine, ConversationError, InputError, RecordsError
from platolm.jsonlines import read_json_records
from platolm.storage import open_atomically
from platolm.tokenizer import HubTokenizer


@dataclass
class RowCounts:
    """What was written. `all_masked` rows carry no loss; training leaves them out."""

    rows: int = 0
    tokens: int = 0
    labelled_tokens: int = 0
    all_masked: int = 0
    bad_lines: list[BadLine] = field(default_factory=list)


def tokenize_file(
    source: Path,
    target: Path,
    profile: DyadicProfile,
    tokenizer: HubTokenizer,
    *,
    max_length: int | None = DEFAULT_MAX_LENGTH,
    bos_in_loss: bool = True,
    skip_bad: bool = False,
    on_record: Callable[[], None] = lambda: None,
) -> RowCounts:
    """Write `{"id", "input_ids", "labels"}`, one conversation a line, in the order of the input.

    Takes ShareGPT and OpenAI records, a run's segments among them (see `as_generated`); a record without an id gets the
    number of its line. The target appears whole or not at all.

    Raises:
        RecordsError: a record is no conversation and `skip_bad` is off.
        InputError: the source cannot be read, or is the target.
        OutputError: the target cannot be written.
    """
    if target.exists() and target.samefile(source):
        raise InputError(f"{target} is the input: give another --out")
    counts = RowCounts()
    with open_atomically(target) as file:
        for number, record in read_json_records(source):
            conversation = _conversation(number, record)
            if isinstance(conversation, BadLine):
                counts.bad_lines.append(conversation)
            elif skip_bad or not counts.bad_lines:
                turns = as_generated(record, conversation, profile, tokenizer)
                row = compose(turns, profile, tokenizer, max_length=max_length, bos_in_loss=bos_in_loss)
                file.write(_row(conversation.id, row.input_ids, row.labels))
                _count(counts, row.labels)
            on_record()
        if counts.bad_lines and not skip_bad:
            raise RecordsError(
                f"{source}: {len(counts.bad_lines):,} unusable records, nothing written; --skip-bad leaves them out",
                counts.bad_lines,
            )
    return counts


def as_generated(
    record: Mapping[str, Any], conversation: Conversation, profile: DyadicProfile, tokenizer: HubTokenizer
) -> list[Turn]:
    """The conversation's turns, those of the profile's side with the ids as generated, where the record has them.

    The segments of a run's dataset record ids; a model's own ids are often not the canonical encoding of its text, and
    it was prompted with them. They count only where this tokenizer decodes them to the very text.
    """
    recorded = record.get("turns")
    if not isinstance(recorded, list) or len(recorded) != len(conversation.messages):
        recorded = [None] * len(conversation.messages)
    turns = []
    for message, how in zip(conversation.messages, recorded, strict=True):
        ids = how.get("token_ids") if isinstance(how, Mapping) and message.role == profile.target_role else None
        usable = isinstance(ids, list) and _decodes_to(ids, message.content, tokenizer)
        turns.append(Turn(message.role, message.content, ids if usable else None))
    return turns


def _decodes_to(ids: list[Any], text: str, tokenizer: HubTokenizer) -> bool:
    try:
        if {tokenizer.bos_id, tokenizer.eos_id} & set(ids) or not all(0 <= i < tokenizer.vocab_size for i in ids):
            return False  # decoding passes over an id that the vocabulary does not have, a model would not
        return tokenizer.decode(ids) == text
    except (TypeError, ValueError, OverflowError):
        return False


def _conversation(number: int, record: object) -> Conversation | BadLine:
    if isinstance(record, BadLine):
        return record
    try:
        return from_record(record, default_id=str(number))
    except ConversationError as error:
        return BadLine(number, str(error))


def _row(identifier: str, input_ids: list[int], labels: list[int]) -> bytes:
    row = {"id": identifier, "input_ids": input_ids, "labels": labels}
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _count(counts: RowCounts, labels: list[int]) -> None:
    num_labelled = sum(label != IGNORE_INDEX for label in labels)
    counts.rows += 1
    counts.tokens += len(labels)
    counts.labelled_tokens += num_labelled
    counts.all_masked += num_labelled == 0
