"""The same cleaning past one machine: our stages as steps of a datatrove pipeline, for its executors.

    from datatrove.executor import LocalPipelineExecutor  # or SlurmPipelineExecutor, RayPipelineExecutor

    steps = flow(["sharegpt-00.jsonl", "sharegpt-01.jsonl"], "clean", CleanSettings(languages=("en",)))
    LocalPipelineExecutor(steps, tasks=2, logging_dir="logs").run()

Task by task `clean/00000.jsonl`, … hold what `platolm clean` would have written of that task's files. Duplicates are
found among all dialogues together, which no step that sees one file can do: datatrove's own MinHash steps do it on the
texts of these documents, or `platolm clean --only exact_duplicates --only near_duplicates` on the files that come out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO

from datatrove.data import Document  # type: ignore[import-untyped]
from datatrove.pipeline.base import PipelineStep  # type: ignore[import-untyped]
from datatrove.pipeline.writers.disk_base import DiskWriter  # type: ignore[import-untyped]
from datatrove.utils.typeshelper import StatHints  # type: ignore[import-untyped]

from curation.clean.chain import local_stages, split_stages
from curation.clean.chunks import line_of
from curation.clean.settings import CleanSettings
from curation.clean.stages import Dropped, Stage
from curation.dialogue import Dialogue
from curation.reading import Unreadable, files_of, read_dialogues

_DIALOGUE = "dialogue"


def flow(
    paths: Iterable[str | Path], out: str | Path, settings: CleanSettings, *, form: str | None = None
) -> list[PipelineStep]:
    """Reading, every stage of the settings that looks at one dialogue alone, and writing below `out`.

    `out` may be any folder or URL that datatrove takes. A task reads whole files, every `tasks`-th one.

    Raises:
        InputError: a path is missing, or a folder has no data.
    """
    stages = [*local_stages(settings), *split_stages(settings)]
    return [ReadDialogues(paths, form=form), *map(CleanStage, stages), WriteDialogues(out)]


class ReadDialogues(PipelineStep):  # type: ignore[misc]
    """Documents of the dialogues of this task's files; what cannot be read is counted.

    A document's text is the dialogue's, with the role before each message.
    """

    name = "dialogues"
    type = "📖 - READER"

    def __init__(self, paths: Iterable[str | Path], *, form: str | None = None) -> None:
        super().__init__()
        self._files = files_of(paths)
        self._form = form

    def run(self, data: Iterable[Document] | None, rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The documents."""
        yield from data or ()
        own = self._files[rank::world_size]
        for found in read_dialogues(own, form=self._form) if own else ():
            self.stat_update(StatHints.total)
            if isinstance(found, Unreadable):
                self.stat_update(StatHints.dropped)
            else:
                yield document_of(found)


class CleanStage(PipelineStep):  # type: ignore[misc]
    """One of our stages; counts what it changed, and what it dropped for which reason."""

    type = "🧹 - CLEAN"

    def __init__(self, stage: Stage) -> None:
        self.name = stage.name
        super().__init__()
        self._stage = stage

    def run(self, data: Iterable[Document], rank: int = 0, world_size: int = 1) -> Iterator[Document]:
        """The documents that are left."""
        for document in data:
            yield from map(document_of, self._applied(document.metadata[_DIALOGUE]))

    def _applied(self, before: Dialogue) -> Sequence[Dialogue]:
        self.stat_update(StatHints.total)
        with self.track_time():
            outcome = self._stage.apply(before)
        if isinstance(outcome, Dropped):
            self.stat_update(StatHints.dropped, f"{StatHints.dropped}_{outcome.reason}")
            return ()
        self.stat_update(StatHints.forwarded)
        return outcome if isinstance(outcome, tuple) else (outcome,)


class WriteDialogues(DiskWriter):  # type: ignore[misc]
    """A file of ShareGPT records for each task."""

    default_output_filename = "${rank}.jsonl"
    name = "dialogues"

    def __init__(self, out: str | Path) -> None:
        super().__init__(str(out), compression=None, adapter=_dialogue, mode="wb")

    def _write(self, document: Dialogue, file_handler: IO[bytes], filename: str) -> None:
        file_handler.write(line_of(document))


def document_of(dialogue: Dialogue) -> Document:
    """The dialogue as datatrove passes it on."""
    text = "\n".join(f"{message.role}: {message.content}" for message in dialogue.messages)
    return Document(text=text, id=dialogue.id, metadata={_DIALOGUE: dialogue})


def _dialogue(writer: DiskWriter, document: Document) -> Dialogue:
    dialogue = document.metadata[_DIALOGUE]
    assert isinstance(dialogue, Dialogue)
    return dialogue
