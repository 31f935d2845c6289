"""First stage: people's dialogues in one form, the test set taken out.

python -m training.loop.clean LOOP_FOLDER
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from platolm.cli.console import message_console, print_error
from platolm.conversation import ASSISTANT, SYSTEM, USER, Conversation, from_record, to_sharegpt
from platolm.errors import BadLine, ConversationError, InputError, PlatoLMError
from platolm.jsonlines import read_json_records
from platolm.storage import open_atomically, write_atomically
from training.data.reading import files_of
from training.loop.folder import REPORT_FILE, TEST_FILE, TRAIN_FILE, LoopFolder, Stage
from training.loop.recipe import Test
from training.sources import opening_fraction, tidied


@dataclass
class CleanReport:
    """What was read, kept and left out."""

    files: list[str]
    num_read: int = 0
    num_train: int = 0
    num_test: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "left_out": dict(self.left_out.most_common())}

    def line(self) -> str:
        """For people."""
        reasons = "".join(f", {count:,} × {reason}" for reason, count in self.left_out.most_common())
        return (
            f"{self.num_read:,} records read, {self.num_train:,} dialogues to train on, {self.num_test:,} held out, "
            f"{self.left_out.total():,} left out{reasons}"
        )


def clean(paths: Sequence[str], test: Test, out: Path) -> CleanReport:
    """Write `train.jsonl` and `test.jsonl`, ShareGPT records in the order of the input, and `report.json`.

    Text is tidied (typographic quotes, outer white space), nothing else of it is changed. Dialogues with one opening
    are on one side of the split, whatever their case and punctuation.

    Raises:
        InputError: a file cannot be read, or one side of the split gets nothing.
        OutputError: the folder cannot be written.
    """
    files = files_of(paths)
    report = CleanReport([str(file) for file in files])
    with ExitStack() as stack:
        train, held_out = (stack.enter_context(open_atomically(out / name)) for name in (TRAIN_FILE, TEST_FILE))
        for position, file in enumerate(files):
            for number, record in read_json_records(file):
                report.num_read += 1
                found = usable_dialogue(record, default_id=f"{position}:{number}")
                if isinstance(found, str):
                    report.left_out[found] += 1
                elif opening_fraction(found, salt=test.salt) < test.share:
                    report.num_test += 1
                    held_out.write(_line(found))
                else:
                    report.num_train += 1
                    train.write(_line(found))
        _require_both(report)
    write_atomically(out / REPORT_FILE, json.dumps(report.as_json(), indent=2, ensure_ascii=False).encode() + b"\n")
    return report


def usable_dialogue(record: Any, *, default_id: str) -> Conversation | str:
    """The record as a tidied dialogue, or why it is none: turns alternate from the user on, and each says something.

    System messages may stand before all of it.
    """
    if isinstance(record, BadLine):
        return "not JSON"
    try:
        conversation = tidied(from_record(record, default_id=default_id))
    except ConversationError:
        return "not a conversation"
    roles = [message.role for message in conversation.messages]
    num_system = next((n for n, role in enumerate(roles) if role != SYSTEM), len(roles))
    spoken = roles[num_system:]
    if len(spoken) < 2 or spoken != [(USER, ASSISTANT)[n % 2] for n in range(len(spoken))]:
        return "roles do not alternate from the user"
    if not all(message.content for message in conversation.messages[num_system:]):
        return "empty turn"
    return conversation


def _require_both(report: CleanReport) -> None:
    if not report.num_train:
        raise InputError(f"there is nothing to train on: {report.line()}")
    if not report.num_test:
        raise InputError("no dialogue is held out to be measured: give more data, or a larger --set test.share=SHARE")


def _line(conversation: Conversation) -> bytes:
    record = {"id": conversation.id, "conversations": to_sharegpt(conversation.messages)}
    return json.dumps(record, ensure_ascii=False).encode() + b"\n"


def main(loop_folder: Path) -> int:
    """The stage as a process; its exit code."""
    try:
        folder = LoopFolder(loop_folder)
        loop = folder.loop()
        report = clean(loop.data, loop.test, folder.output(Stage.CLEAN))
    except PlatoLMError as error:
        return print_error(error)
    message_console().print(report.line(), markup=False, soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
