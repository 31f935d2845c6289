"""What tokenising and masking costs: once for all epochs, against every prefix of every dialogue in every epoch.

The baseline is written here: for every turn it tokenises the whole text up to that turn again, to find where the turn
lies. All its epochs are the same work, so one is measured. Both must give the same ids and labels, or there is no
figure.

    python -m benchmarks.rows [--data FILE]... [--tokenizer FOLDER] [--dialogues 4000] [--epochs 3]
"""

from __future__ import annotations

import json
import os
import random
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from pathlib import Path
from typing import Annotated, Any

import typer

from platolm.conversation import ASSISTANT, USER, Conversation, Message, from_record, to_sharegpt
from platolm.dyadic import DEFAULT_MAX_LENGTH, IGNORE_INDEX, SOCRATIC, Composed, cut_after_last_label
from platolm.jsonlines import read_json_records
from platolm.tokenizer import HubTokenizer, load_tokenizer
from training.data import PreparedRows, prepare
from training.recipes.recipe import Data, Side

_TURN_OVERHEAD = 10  # a name, a colon, bos and eos, generously
NAMES = {USER: "Human", ASSISTANT: "Assistant"}
BATCH_ROWS = 128
MEAN_ROUNDS = 5.85
"""Of ShareGPT, unsplit (Kong et al. 2024)."""

WORDS_A_TURN = {USER: 50, ASSISTANT: 170}
"""Of made-up words, so that a turn has ShareGPT's 207 tokens on average with the demo pair's tokenizer."""

LINEAR_ROUNDS = (2, 4, 8, 16, 32, 64)
LINEAR_TURNS = 8192


@dataclass(frozen=True)
class Seconds:
    """Wall clock, and processor time of this process with all its threads and ended children."""

    wall: float
    processor: float


class Clock:
    """Measures what happens inside its `with`."""

    def __enter__(self) -> Clock:
        self._wall, self._processor = time.perf_counter(), sum(os.times()[:4])
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = Seconds(time.perf_counter() - self._wall, sum(os.times()[:4]) - self._processor)


class PrefixRows:
    """Socratic's rows the way that costs: one tokenisation of the whole prefix for each turn."""

    def __init__(self, folder: str, max_length: int) -> None:
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(folder, model_max_length=1 << 30)  # else it warns of long texts
        self._max_length = max_length
        self._num_name_ids = {role: len(self._ids(f"{name}: ")) for role, name in NAMES.items()}

    def row(self, conversation: Conversation) -> Composed:
        bos, eos = self._tokenizer.bos_token, self._tokenizer.eos_token
        prefix, end = bos + SOCRATIC.header, 0
        input_ids: list[int] = []
        spans = []
        for message in conversation.messages:
            begin = end + self._num_name_ids[message.role]
            if not end:
                begin = len(self._ids(f"{prefix}{NAMES[message.role]}: "))
            prefix += f"{NAMES[message.role]}: {bos}{message.content}{eos}"
            input_ids = self._ids(prefix)
            end = len(input_ids)
            spans += [(begin, end)] if message.role == USER else []
        return self._masked(input_ids, spans)

    def _masked(self, input_ids: Sequence[int], spans: Sequence[tuple[int, int]]) -> Composed:
        labels = [IGNORE_INDEX] * len(input_ids)
        for begin, end in spans:
            labels[begin:end] = input_ids[begin:end]
        return cut_after_last_label(Composed(list(input_ids[: self._max_length]), labels[: self._max_length]))

    def _ids(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return ids


def main(
    data: Annotated[list[Path] | None, typer.Option(help="Files of dialogues; made up unless given.")] = None,
    tokenizer: Annotated[str, typer.Option(help="Folder of a byte-level tokenizer.")] = "models/demo/base",
    dialogues: Annotated[int, typer.Option(min=1, help="How many dialogues, at most.")] = 4000,
    epochs: Annotated[int, typer.Option(min=1)] = 3,
    max_length: Annotated[int, typer.Option(min=128, help="Tokens of a row.")] = DEFAULT_MAX_LENGTH,
) -> None:
    """Print seconds of both and their ratio, then our time against the length of the dialogues."""
    conversations = list(islice(_regular(data) if data else _invented(), dialogues))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _prepared(_written([_dialogue(random.Random(0), 2)], folder / "first.jsonl"), tokenizer)  # imports and loads
        ids = load_tokenizer(tokenizer)
        fitting = [_cut_to_a_row(conversation, ids, max_length) for conversation in conversations]
        for title, some in (("as they are", conversations), (f"cut to {max_length:,} tokens beforehand", fitting)):
            num_turns = sum(len(conversation.messages) for conversation in some)
            print(f"{len(some):,} dialogues {title}, {num_turns:,} turns; {epochs} epochs")
            file = folder / f"{title}.jsonl"
            compare(some, tokenizer, file, epochs=epochs, max_length=max_length)
            print()
        show_linear(tokenizer, folder)


def compare(conversations: Sequence[Conversation], tokenizer: str, file: Path, *, epochs: int, max_length: int) -> None:
    """Time both on the same dialogues, and check that they give the same rows."""
    _written(conversations, file)
    baseline = PrefixRows(tokenizer, max_length)
    with Clock() as prefixes:
        expected = [baseline.row(conversation) for conversation in conversations]
    with Clock() as once:
        rows = _prepared(file, tokenizer, max_length=max_length)
    with Clock() as reading:
        for _ in range(epochs):
            _read(rows)
    with Clock() as hit:
        _prepared(file, tokenizer, max_length=max_length)
    _require_equal(_prepared(file, tokenizer, max_length=max_length, split_long=False), expected)
    print("                                        wall s  processor s")
    _print_line(f"every prefix, {epochs} × an epoch", prefixes.seconds, times=epochs)
    _print_line("ours: tokenised, split, written", once.seconds)
    _print_line(f"ours: rows read {epochs} times", reading.seconds)
    _print_line("(ours: found again in another run)", hit.seconds)
    wall, processor = (
        epochs * getattr(prefixes.seconds, unit) / (getattr(once.seconds, unit) + getattr(reading.seconds, unit))
        for unit in ("wall", "processor")
    )
    print(f"  {'ratio':35}{wall:9.1f}{processor:13.1f}")


def show_linear(tokenizer: str, folder: Path) -> None:
    """The same number of turns in dialogues of more and more rounds: linear is a constant time."""
    print(f"ours, {LINEAR_TURNS:,} turns in dialogues of")
    for num_rounds in LINEAR_ROUNDS:
        rng = random.Random(num_rounds)
        talks = [_dialogue(rng, num_rounds) for _ in range(LINEAR_TURNS // (2 * num_rounds))]
        file = _written(talks, folder / f"{num_rounds}-rounds.jsonl")
        with Clock() as clock:
            rows = _prepared(file, tokenizer)
        per_turn = clock.seconds.processor / LINEAR_TURNS * 1e6
        print(f"{num_rounds:6} rounds {per_turn:8.1f} µs of processor time a turn, {len(rows.train):,} rows")


def _prepared(file: Path, tokenizer: str, **settings: Any) -> PreparedRows:
    data = Data(paths=(str(file),), **{"held_out_share": 0.0, **settings})
    return prepare(data, Side.SOCRATIC, tokenizer, file.parent / "cache")


def _written(conversations: Sequence[Conversation], file: Path) -> Path:
    with file.open("w", encoding="utf-8") as lines:
        for one in conversations:
            lines.write(json.dumps({"conversations": to_sharegpt(one.messages)}, ensure_ascii=False) + "\n")
    return file


def _cut_to_a_row(conversation: Conversation, tokenizer: HubTokenizer, max_length: int) -> Conversation:
    """The first turns, as many as fit with the header; at least one."""
    sizes = [len(ids) for ids in tokenizer.encode_many([message.content for message in conversation.messages])]
    room = max_length - len(tokenizer.encode(SOCRATIC.header))
    lengths = accumulate(size + _TURN_OVERHEAD for size in sizes)
    num_fitting = sum(length <= room for length in lengths)
    return Conversation(conversation.id, conversation.messages[: max(1, num_fitting)])


def _read(rows: PreparedRows) -> None:
    """One epoch in random order, as a trainer reads."""
    order = list(range(len(rows.train)))
    random.Random(0).shuffle(order)
    arrays = rows.train.with_format("numpy")
    for begin in range(0, len(order), BATCH_ROWS):
        arrays[order[begin : begin + BATCH_ROWS]]


def _require_equal(rows: PreparedRows, expected: Sequence[Composed]) -> None:
    """End the program where a row differs."""
    wanted = [(row.input_ids, row.labels) for row in expected if row.input_ids]
    found = list(zip(rows.train["input_ids"], rows.train["labels"], strict=True))
    differing = [position for position, (a, b) in enumerate(zip(wanted, found, strict=True)) if a != b]
    if differing:
        raise SystemExit(f"{len(differing):,} of {len(wanted):,} rows differ, row {differing[0]} first: not comparable")
    print(f"  {len(wanted):,} rows, {sum(len(ids) for ids, _ in wanted):,} tokens, ids and labels equal")


def _print_line(title: str, seconds: Seconds, *, times: int = 1) -> None:
    print(f"  {title:35}{times * seconds.wall:9.2f}{times * seconds.processor:13.2f}")


def _regular(files: Sequence[Path]) -> Iterator[Conversation]:
    """Dialogues that the baseline can do: two roles, no empty turn, no typed control token."""
    for file in files:
        for number, record in read_json_records(file):
            conversation = from_record(record, default_id=str(number))
            contents = [message.content for message in conversation.messages]
            is_plain = all(content.strip() and "<s>" not in content and "</s>" not in content for content in contents)
            if contents and is_plain and {message.role for message in conversation.messages} <= NAMES.keys():
                yield conversation


def _invented() -> Iterator[Conversation]:
    """Dialogues of made-up words, as long as ShareGPT's on average and spread as widely as real ones."""
    rng = random.Random(0)
    while True:
        yield _dialogue(rng, max(1, round(rng.expovariate(1 / MEAN_ROUNDS))))


def _dialogue(rng: random.Random, num_rounds: int) -> Conversation:
    roles = (USER, ASSISTANT) * num_rounds
    return Conversation("", tuple(Message(role, _sentences(rng, WORDS_A_TURN[role])) for role in roles))


def _sentences(rng: random.Random, mean_words: int) -> str:
    """Log-normal in length, its words Zipf-like."""
    num_words = max(1, round(rng.lognormvariate(0, 1) * mean_words / 1.65))  # e^½, the distribution's mean
    ranks = (int(20 * rng.paretovariate(0.9) - 20) % 20_000 for _ in range(num_words))
    return " ".join(_word(rank) for rank in ranks)


def _word(rank: int) -> str:
    """The same made-up word for the same rank, longer for rarer ones."""
    syllables = ("ta", "re", "in", "so", "the", "con", "er", "li", "mo", "an", "de", "st", "ing", "u")
    spelled = syllables[rank % len(syllables)]
    while rank := rank // len(syllables):
        spelled += syllables[rank % len(syllables)]
    return spelled


if __name__ == "__main__":
    typer.run(main)
