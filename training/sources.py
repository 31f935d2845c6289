"""The demo models' data: which files, under which licences, what is left out, and the split.

Every source is text that real people typed to an assistant, under MIT, Apache-2.0, Unlicense or CC BY. Benchmarks,
scripted or synthetic dialogues, share-alike and non-commercial sources are left out by rule. The model card reads
`DEMO_SOURCES`.
"""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from platolm.conversation import ASSISTANT, USER, Conversation, Message, from_sharegpt
from platolm.errors import ConversationError, InputError
from platolm.opening import fraction_of, normalised, opening_of


@dataclass(frozen=True)
class Source:
    """One file of dialogues in ShareGPT form; `share` is the part of its openings that is used."""

    file: str
    title: str
    licence: str
    attribution: str
    share: float = 1.0


DEMO_SOURCES = (
    Source(
        "hh_helpful_dialogues.jsonl.gz",
        "HH-RLHF, helpful: crowd workers with a language-model assistant (test files, the chosen side)",
        "MIT",
        "Copyright (c) 2022 Anthropic. Bai et al. 2022, arXiv 2204.05862; copy of DaehanKim/EasyRLHF",
    ),
    Source(
        "chatgpt_user_dialogues.jsonl",
        "One user's published ChatGPT conversations, December 2022 to November 2023",
        "Unlicense",
        "David Blue (extratone/gpt)",
    ),
    Source(
        "oasst_dialogues.jsonl",
        "OpenAssistant: both sides written by volunteers, the best ranked path of each tree",
        "Apache-2.0",
        "LAION-AI/Open-Assistant. Köpf et al. 2023, arXiv 2304.07327",
    ),
    Source(
        "taskmaster4_dialogues.jsonl.gz",
        "Taskmaster-4: coffee orders written by crowd workers (a quarter of the openings is used)",
        "CC BY 4.0",
        "Bill Byrne and Saravanan Ganesh, Google LLC. arXiv 2403.10704",
        share=0.25,
    ),
    Source(
        "sharegpt_sample.json",
        "ShareGPT: users' shared ChatGPT conversations, the English ones of a small sample",
        "MIT",
        "pany8125/ShareGPTQAExtractor-mnbvc; the ShareGPT 90K dataset card is CC0-1.0",
    ),
)


class Split(StrEnum):
    """Where a dialogue belongs, by the hash of its opening: near duplicates never straddle."""

    TRAIN = "train"
    VALIDATION = "validation"
    HELD_OUT = "held_out"


SPLIT_SALT = "split"
HELD_OUT_SHARE = 0.06
VALIDATION_SHARE = 0.03

_TYPOGRAPHY = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "\u00a0": " ", "\u200b": None, "…": "..."})
_MAX_FOREIGN_SHARE = 0.02
_UNSUITABLE = re.compile(
    r"\b(kill\w*|murder\w*|rap(e|ed|ist)|sex\w*|porn\w*|nazi\w*|hitler|terroris\w*|bombs?|racis\w*|prostitut\w*|"
    r"cocaine|heroin|meth|weed|marijuana|pedo\w*|self.harm|fuck\w*|shit\w*|bitch\w*|penis|vagina|shoplift\w*|steal)\b",
    re.IGNORECASE,
)


@dataclass
class Dialogues:
    """What was read, by split, and what was left out, by reason."""

    by_split: dict[Split, list[Conversation]] = field(default_factory=lambda: {split: [] for split in Split})
    dropped: Counter[str] = field(default_factory=Counter)
    used: Counter[str] = field(default_factory=Counter)


def opening_fraction(conversation: Conversation, *, salt: str = SPLIT_SALT) -> float:
    """A number in [0, 1) that depends on the opening alone; the same on every machine."""
    return fraction_of(normalised(opening_of(conversation)), salt=salt)


def split_of(conversation: Conversation) -> Split:
    """The split of every dialogue that begins with this opening."""
    fraction = opening_fraction(conversation)
    if fraction < HELD_OUT_SHARE:
        return Split.HELD_OUT
    if fraction < HELD_OUT_SHARE + VALIDATION_SHARE:
        return Split.VALIDATION
    return Split.TRAIN


def read_demo_dialogues(folder: Path, sources: Sequence[Source] = DEMO_SOURCES) -> Dialogues:
    """Read, clean and split every source.

    Raises:
        InputError: a file is missing or is not JSON.
    """
    dialogues = Dialogues()
    for source in sources:
        for position, record in enumerate(_records(folder / source.file)):
            try:
                conversation = from_sharegpt(record, default_id=f"{source.file}:{position}")
            except ConversationError:
                dialogues.dropped["not a conversation"] += 1
                continue
            conversation = tidied(conversation)
            reason = unusable_reason(conversation)
            if reason is None and opening_fraction(conversation, salt="share") >= source.share:
                reason = "down-weighted source"
            if reason is not None:
                dialogues.dropped[reason] += 1
                continue
            dialogues.used[source.file] += 1
            dialogues.by_split[split_of(conversation)].append(conversation)
    return dialogues


def tidied(conversation: Conversation) -> Conversation:
    """Typographic quotes and spaces made plain, outer white space stripped: both spellings occur for one meaning."""
    messages = (Message(m.role, m.content.translate(_TYPOGRAPHY).strip()) for m in conversation.messages)
    return Conversation(conversation.id, tuple(messages))


def unusable_reason(conversation: Conversation) -> str | None:
    """Why a dialogue is left out, or None where it is kept."""
    messages = conversation.messages
    expected = [(USER, ASSISTANT)[i % 2] for i in range(len(messages))]
    if len(messages) < 2 or [m.role for m in messages] != expected:
        return "roles do not alternate from the user"
    if not all(m.content for m in messages):
        return "empty turn"
    text = "\n".join(m.content for m in messages)
    if sum(not character.isascii() for character in text) > _MAX_FOREIGN_SHARE * len(text):
        return "not English"
    if _UNSUITABLE.search(text):
        return "topic unfit for a first impression"
    return None


def _records(path: Path) -> Iterator[Any]:
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rt", encoding="utf-8") as lines:
            yield from json.load(lines) if ".jsonl" not in path.name else _json_lines(lines)
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing: give the folder of the dialogue files with --data") from error
    except ValueError as error:
        raise InputError(f"{path} is not JSON: {error}") from error


def _json_lines(lines: Iterable[str]) -> Iterator[Any]:
    return (json.loads(line) for line in lines if line.strip())
