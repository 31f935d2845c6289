"""The measuring stage: both sides on the dialogues that no stage has seen, and the loop's report.

python -m training.loop.evaluate LOOP_FOLDER
"""

from __future__ import annotations

import sys
import time
import warnings
from pathlib import Path

from platolm.cli.console import message_console, print_error
from platolm.errors import PlatoLMError
from training.loop.folder import TEST_FILE, LoopFolder, Stage
from training.loop.measure import Say, measure_side, read_test
from training.loop.report import LoopReport, write_report


def evaluate(folder: LoopFolder, say: Say) -> LoopReport:
    """Measure, and write the report into the stage's folder. One model is in memory at a time.

    Raises:
        InputError: the folder is none of a loop, or nothing can be measured.
        OutputError: the report cannot be written.
    """
    started, loop = time.monotonic(), folder.loop()
    dialogues = read_test(folder.output(Stage.CLEAN) / TEST_FILE, loop.test)
    sides = [
        measure_side(loop.socratic, folder.model(Stage.SOCRATIC), dialogues, say),
        measure_side(loop.platolm, folder.model(Stage.PLATOLM), dialogues, say),
    ]
    stages = {stage: record for stage in Stage if (record := folder.record(stage)) is not None}
    stages.pop(Stage.SERVE, None)
    if (own := stages.get(Stage.EVALUATE)) is not None:
        own.seconds += time.monotonic() - started
    report = LoopReport(loop.name, sides, stages)
    write_report(report, folder.output(Stage.EVALUATE))
    return report


def main(loop_folder: Path) -> int:
    """The stage as a process; its exit code."""
    from transformers.utils.logging import disable_progress_bar

    warnings.filterwarnings("ignore", module="torch|transformers|matplotlib")
    disable_progress_bar()  # type: ignore[no-untyped-call]
    console = message_console()
    try:
        evaluate(LoopFolder(loop_folder), lambda text: console.print(text, style="dim", markup=False, soft_wrap=True))
    except PlatoLMError as error:
        return print_error(error)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
