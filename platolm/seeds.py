"""Reading a seed file: JSON lines, each the beginning of a conversation, or a whole one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platolm.conversation import ASSISTANT, SYSTEM, USER, Conversation, from_record
from platolm.dataset import SHAREGPT_FILE
from platolm.errors import BadLine, ConversationError, InputError, SeedError
from platolm.jsonlines import read_json_records
from platolm.seed_modes import TOLD_BY_SEEDS, WHOLE, Seed, SeedMode, lacks, taken
from platolm.seed_turns import whole_seed

QUESTION_KEYS = ("question", "instruction", "prompt")
ANSWER_KEYS = ("answer", "response", "output")

OPENINGS_FILE = Path(__file__).with_name("openings.jsonl")
"""A hundred questions of many kinds that come with the project, to try things with."""


@dataclass(frozen=True)
class SeedFile:
    """The usable seeds of a file, and the lines that were passed over."""

    seeds: list[Seed]
    bad_lines: list[BadLine] = field(default_factory=list)


def read_seeds(path: str | Path, mode: SeedMode, *, skip_bad: bool = False, from_turn: int | None = None) -> SeedFile:
    """Read seeds from JSON lines (`.gz` and `.zst` too), from one JSON list, or from the folder of a run.

    A line gives its question under `question`, `instruction` (with an `input` below it, if any) or `prompt`, or is a
    conversation (ShareGPT `conversations`, OpenAI `messages`) whose first user turn, and in exchange mode its answer,
    is taken. For intent mode it gives one or more of `intent`, `goal`, `persona`, `profile`, and perhaps a `question`,
    which is the first user turn. For continue and reanswer mode it is a conversation (ShareGPT, OpenAI, WildChat, a
    run's own), or has `turns`: see `platolm.seed_turns`. Seeds come whole; one of which the run's `from_turn` leaves
    nothing is a bad line.

    Raises:
        SeedError: the file is missing or empty, or has bad lines and `skip_bad` is off; carries every bad line.
    """
    seeds: list[Seed] = []
    bad_lines: list[BadLine] = []
    try:
        for number, record in read_json_records(_file_at(Path(path))):
            if isinstance(record, BadLine):
                bad_lines.append(record)
                continue
            try:
                seeds.append(_seed(record, number, mode, from_turn))
            except ConversationError as error:
                bad_lines.append(BadLine(number, str(error)))
    except InputError as error:
        raise SeedError(str(error)) from error
    if bad_lines and not skip_bad:
        num_lines = len(seeds) + len(bad_lines)
        raise SeedError(
            f"{path}: {len(bad_lines)} of {num_lines} lines are unusable; --skip-bad leaves them out", bad_lines
        )
    if not seeds:
        raise SeedError(f"{path}: no usable seed in it", bad_lines)
    return SeedFile(seeds, bad_lines)


def _file_at(path: Path) -> Path:
    """A run's folder stands for its conversations."""
    return path / SHAREGPT_FILE if path.is_dir() else path


def _seed(record: Any, line: int, mode: SeedMode, from_turn: int | None) -> Seed:
    if not isinstance(record, Mapping):
        raise ConversationError(f"a seed must be a JSON object, not {type(record).__name__}")
    if mode in WHOLE:
        seed = whole_seed(record, line, mode)
    elif mode is SeedMode.INTENT:
        seed = Seed(**{key: _optional_text(record, key) for key in ("question", *TOLD_BY_SEEDS)}, line=line)
    else:
        question, answer = _question_and_answer(record)
        seed = Seed(question=question, answer=answer if mode is SeedMode.EXCHANGE else None, line=line)
    if lacking := lacks(taken(seed, mode, from_turn), mode):
        raise ConversationError(f"it has no {lacking}, which {mode} mode needs")
    return seed


def _question_and_answer(record: Mapping[str, Any]) -> tuple[str, str | None]:
    if "conversations" in record or "messages" in record:
        return _opening(from_record(record))
    for key in QUESTION_KEYS:
        if key in record:
            question = _text(record, key)
            if key == "instruction" and isinstance(record.get("input"), str) and record["input"].strip():
                question = f"{question}\n\n{record['input']}"
            return question, _answer(record)
    raise ConversationError("none of question, instruction, prompt, conversations, messages is in it")


def _opening(conversation: Conversation) -> tuple[str, str | None]:
    spoken = [message for message in conversation.messages if message.role != SYSTEM]
    if not spoken:
        raise ConversationError("its conversation is empty")
    if spoken[0].role != USER:
        raise ConversationError(f"its conversation begins with {spoken[0].role}, not with the user")
    answer = spoken[1].content if len(spoken) > 1 and spoken[1].role == ASSISTANT else None
    return spoken[0].content, answer


def _answer(record: Mapping[str, Any]) -> str | None:
    for key in ANSWER_KEYS:
        if key in record:
            return _text(record, key)
    return None


def _optional_text(record: Mapping[str, Any], key: str) -> str | None:
    """None where it is not there, null or blank."""
    text = _text(record, key) if record.get(key) is not None else ""
    return text if text.strip() else None


def _text(record: Mapping[str, Any], key: str) -> str:
    value = record[key]
    if not isinstance(value, str):
        raise ConversationError(f"its {key!r} is not a string")
    return value
