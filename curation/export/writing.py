"""One pass over the dialogues: those that are wanted go into their split's file; then the card, and the whole appears.

README.md            the card
dataset_info.json    for LLaMA-Factory
data/train.*         the dialogues
data/test.*          those held out, where there are any
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from curation.dialogue import Dialogue
from curation.export.card import Card, MeasuredLine, card_text
from curation.export.files import WriteRow, open_rows, suffix_of
from curation.export.filters import Filters, mark_of, marks_of
from curation.export.forms import Fitted, Unfit, as_it_is, fitted, llama_factory_entry, row_of
from curation.export.provenance import Provenance
from curation.export.report import ExportReport, SplitCounts
from curation.export.split import DEFAULT_SEED, Split, split_of
from curation.reading import Unreadable, files_of, read_dialogues
from platolm.errors import InputError, OccupiedError, OutputError
from platolm.marks import Mark
from platolm.runs_api import DatasetFormat
from platolm.storage import TEMPORARY_SUFFIX, sync_folder, write_atomically

CARD_FILE = "README.md"
LLAMA_FACTORY_FILE = "dataset_info.json"
DATA_FOLDER = "data"

Measure = Callable[[Sequence[Path]], list[MeasuredLine]]
"""Measures the files that were written, for the card."""

_NO_NAME = re.compile(r"[^A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Wanted:
    """How a dataset is handed on. `keep_irregular`: dialogues that other trainers refuse too, as they are."""

    form: DatasetFormat = DatasetFormat.SHAREGPT
    lines: bool = False
    keep_irregular: bool = False
    filters: Filters = field(default_factory=Filters)
    test_share: float = 0.0
    seed: int = DEFAULT_SEED
    title: str = ""
    licence: str = ""
    languages: tuple[str, ...] = ()


@dataclass
class _Files:
    """The splits' files; each is opened with its first row."""

    folder: Path
    suffix: str
    stack: ExitStack
    report: ExportReport
    _writers: dict[Split, WriteRow] = field(default_factory=dict)

    def write(self, split: Split, dialogue: Dialogue, fit: Fitted, form: DatasetFormat, mark: str) -> None:
        if split not in self._writers:
            name = f"{DATA_FOLDER}/{split}{self.suffix}"
            self._writers[split] = self.stack.enter_context(open_rows(self.folder / name))
            self.report.splits[split] = SplitCounts(name)
        self._writers[split](row_of(dialogue, fit, form, mark))
        self.report.splits[split].add(dialogue, fit)


def export_dataset(
    paths: Sequence[Path],
    out: Path,
    wanted: Wanted,
    *,
    measure: Measure | None = None,
    on_record: Callable[[], None] = lambda: None,
) -> ExportReport:
    """Write a dataset's folder, whole or not at all. The same input and settings give the same bytes.

    Memory holds one dialogue (of Parquet a row group), and the marks of a run.

    Raises:
        InputError: nothing can be read, or nothing is left to write or to train on.
        OccupiedError: the folder is there and not empty.
        OutputError: it cannot be written.
    """
    inputs = _inputs(paths)
    with _appearing(out) as folder:
        (folder / DATA_FOLDER).mkdir()
        report, provenance = ExportReport(), Provenance()
        for path, files in inputs:
            provenance.add_source(path, files)
        with ExitStack() as stack:
            target = _Files(folder, suffix_of(wanted.form, lines=wanted.lines), stack, report)
            _write_rows(inputs, wanted, target, provenance, on_record)
        _require_rows(report)
        report.splits = {split: report.splits[split] for split in Split if split in report.splits}
        written = [folder / counts.file_name for counts in report.splits.values()]
        for path, counts in zip(written, report.splits.values(), strict=True):
            counts.size_bytes = path.stat().st_size
        title = wanted.title or out.resolve().name
        measured = measure(written) if measure is not None else []
        card = Card(title, wanted.form, wanted.licence, wanted.languages, wanted.filters, measured)
        write_atomically(folder / CARD_FILE, card_text(card, report, provenance).encode())
        write_atomically(folder / LLAMA_FACTORY_FILE, _llama_factory(title, wanted.form, report))
    return report


def dataset_name(title: str) -> str:
    """What LLaMA-Factory calls the dataset."""
    return _NO_NAME.sub("_", title).strip("_").lower() or "dataset"


def _inputs(paths: Sequence[Path]) -> list[tuple[Path, list[Path]]]:
    """Each path with its files; a file that is named twice counts once."""
    left = {file.resolve() for file in files_of(paths)}
    inputs = []
    for path in paths:
        files = [file for file in files_of([path]) if file.resolve() in left]
        left -= {file.resolve() for file in files}
        if files:
            inputs.append((path, files))
    return inputs


def _write_rows(
    inputs: Sequence[tuple[Path, Sequence[Path]]],
    wanted: Wanted,
    target: _Files,
    provenance: Provenance,
    on_record: Callable[[], None],
) -> None:
    for path, files in inputs:
        marks = marks_of(path)
        for dialogue in read_dialogues(files):
            on_record()
            target.report.num_read += 1
            if isinstance(dialogue, Unreadable):
                target.report.leave_out("not a dialogue", f"{dialogue.origin}: {dialogue.reason}")
                continue
            mark = mark_of(dialogue, marks)
            fit = _fit(dialogue, wanted, mark)
            if not isinstance(fit, Fitted):
                target.report.leave_out(fit, dialogue.origin)
                continue
            target.report.num_cut += fit.is_cut
            split = split_of(dialogue.conversation, test_share=wanted.test_share, seed=wanted.seed)
            target.write(split, dialogue, fit, wanted.form, mark.mark.value if mark and mark.mark else "")
            provenance.add(dialogue)


def _fit(dialogue: Dialogue, wanted: Wanted, mark: Mark | None) -> Fitted | str:
    """The dialogue as it is written, or why it is not."""
    fit = as_it_is(dialogue.messages) if wanted.keep_irregular else fitted(dialogue.messages)
    if isinstance(fit, Unfit):
        return fit.value
    refusal = wanted.filters.refusal(dialogue, fit.num_rounds, mark)
    return fit if refusal is None else refusal.value


def _require_rows(report: ExportReport) -> None:
    if not report.num_written:
        account = "; ".join(line.strip() for line in report.lines())
        raise InputError(f"nothing is left to hand on: {account}")
    if Split.TRAIN not in report.splits:
        raise InputError("every conversation is in the test split: give more data, or a smaller --test-share")


def _llama_factory(title: str, form: DatasetFormat, report: ExportReport) -> bytes:
    name = dataset_name(title)
    entries = {
        name if split is Split.TRAIN else f"{name}_{split}": llama_factory_entry(form, counts.file_name)
        for split, counts in report.splits.items()
    }
    return json.dumps(entries, indent=2).encode() + b"\n"


@contextmanager
def _appearing(out: Path) -> Iterator[Path]:
    """A fresh folder beside `out` that takes its place when it is whole."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise OccupiedError(f"{out} is there already: give another --out")
    try:
        out.resolve().parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=out.resolve().parent, prefix=f".{out.name}.", suffix=TEMPORARY_SUFFIX))
        try:
            yield folder
            folder.chmod(0o755)
            _sync(folder)
            os.replace(folder, out)
            sync_folder(out.resolve().parent)
        finally:
            shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be written: {error.strerror or error}") from error


def _sync(folder: Path) -> None:
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
