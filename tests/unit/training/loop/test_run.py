"""The loop's stages in their order, with stand-ins for training, measuring and the stack: what is made, what is not."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest
from rich.console import Console

from platolm.errors import InputError, StackError, TrainingError
from platolm.spec import RunRequest
from platolm.stack.settings import LocalStackSettings
from platolm.summary import RunSummary
from training.loop import run as run_module
from training.loop.children import stage_argv
from training.loop.folder import LoopFolder, Stage, open_loop
from training.loop.recipe import DEMO_LOOP, LoopRecipe
from training.loop.run import Loop
from training.recipes.overrides import with_overrides

ResultT = TypeVar("ResultT")

TRAINER = """
import json, pathlib, signal, sys, time
recipe, out = json.loads(pathlib.Path(sys.argv[1]).read_text()), pathlib.Path(sys.argv[2])
out.mkdir(exist_ok=True)
with (out / "starts").open("a") as starts:
    starts.write(recipe["data"]["paths"][0] + "\\n")
control = pathlib.Path(sys.argv[3])
if (control / "fail").exists():
    sys.exit(1)
def save(*_):
    (out / "checkpoint").touch()
    sys.exit(143)
if (control / "hang").exists():
    signal.signal(signal.SIGTERM, save)
    (control / "hanging").touch()
    time.sleep(600)
(out / "model").mkdir()
(out / "model" / "config.json").write_text(out.name)
(out / "result.json").write_text(json.dumps({"steps": 5, "held_out_loss": 3.0, "rows": 9}))
"""
"""Trains nothing; fails or hangs where the control folder says so, and saves when it is stopped."""

MEASURER = """
import json, pathlib, sys
out = pathlib.Path(sys.argv[1]) / "05-evaluate"
out.mkdir(exist_ok=True)
sides = [{"side": "socratic", "verdict": "better than before"}, {"side": "platolm", "verdict": "worse than before"}]
(out / "report.json").write_text(json.dumps({"sides": sides}))
"""

SUMMARY = RunSummary(
    run_id="run-1", conversations=4, finished=4, dead=0, terminations={}, mean_rounds=2, mean_utterance_tokens=9,
    utterances=16, generated_tokens=144, wall_time_s=1, conversations_per_minute=240, tokens_per_s=144,
)  # fmt: skip


@dataclass
class FakeStack:
    """What was started and replaced; a death of it is `dies`."""

    started: list[tuple[str, str]] = field(default_factory=list)
    replaced: list[Mapping[str, str]] = field(default_factory=list)
    num_running: int = 0
    refuses: bool = False
    dies: asyncio.Event = field(default_factory=asyncio.Event)
    settings: LocalStackSettings = field(default_factory=LocalStackSettings)

    @asynccontextmanager
    async def running(self, settings: LocalStackSettings, _console: Console) -> AsyncIterator[FakeStack]:
        self.settings = settings
        self.started.append(
            (Path(settings.simulator_model or "").parts[-2], Path(settings.respondent_model or "").name)
        )
        self.num_running += 1
        try:
            yield self
        finally:
            self.num_running -= 1

    async def guarding(self, work: Coroutine[Any, Any, ResultT]) -> ResultT:
        working, dying = asyncio.create_task(work), asyncio.create_task(self.dies.wait())
        try:
            await asyncio.wait({working, dying}, return_when=asyncio.FIRST_COMPLETED)
            if dying.done():
                raise StackError("worker ended with code 1")
            return await working
        finally:
            working.cancel()
            dying.cancel()
            await asyncio.gather(working, dying, return_exceptions=True)

    async def replace(self, models: Mapping[str, str]) -> None:
        if self.refuses:
            raise InputError("another tokenizer")
        self.replaced.append(models)

    async def watch(self) -> None:
        await asyncio.Event().wait()


@dataclass
class Bench:
    """A loop's folder with its stand-ins; `said` is what the last go printed."""

    path: Path
    control: Path
    stack: FakeStack
    requests: list[RunRequest] = field(default_factory=list)
    said: str = ""

    async def go(self, loop: LoopRecipe, **options: Any) -> Loop:
        console = Console(file=io.StringIO(), width=200)
        try:
            with open_loop(self.path, loop) as folder:
                one = Loop(loop, folder, console, train_argv=self.train_argv)
                await one.run(**options)
        finally:
            assert isinstance(console.file, io.StringIO)
            self.said = console.file.getvalue()
        return one

    def train_argv(self, recipe: Path, out: Path) -> list[str]:
        return [sys.executable, "-c", TRAINER, str(recipe), str(out), str(self.control)]

    async def produce(self, request: RunRequest, path: Path, *, api: str, give_up_after_s: float) -> RunSummary:
        self.requests.append(request)
        path.mkdir(exist_ok=True)  # noqa: ASYNC240  a folder in memory
        (path / "sharegpt.jsonl").touch()
        return SUMMARY

    @property
    def made(self) -> list[str]:
        """The stages that the last go made."""
        return [line.split()[0] for line in self.said.splitlines() if " done (" in line]

    @property
    def skipped(self) -> list[str]:
        return [line.split()[0] for line in self.said.splitlines() if " skipped, made earlier (" in line]

    def starts(self, stage: Stage) -> list[str]:
        """The data of each start of a training."""
        return (self.path / stage / "starts").read_text().splitlines()


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    (tmp_path / "control").mkdir()
    bench = Bench(tmp_path / "loop", tmp_path / "control", FakeStack())

    def argv(module: str, folder: Path) -> list[str]:
        return stage_argv(module, folder) if module == "clean" else [sys.executable, "-c", MEASURER, str(folder)]

    async def greet(_settings: LocalStackSettings) -> dict[str, str]:
        return {"question": "Why?", "answer": "Because."}

    monkeypatch.setattr(run_module, "stage_argv", argv)
    monkeypatch.setattr(run_module, "running_stack", bench.stack.running)
    monkeypatch.setattr(run_module, "produce", bench.produce)
    monkeypatch.setattr(run_module, "greet", greet)
    return bench


STAGES = [stage.value for stage in Stage]


async def until(condition: Callable[[], bool]) -> None:
    while not condition():  # noqa: ASYNC110  another process makes it true
        await asyncio.sleep(0.01)


async def test_every_stage_is_made_once(bench: Bench, tiny_loop: LoopRecipe) -> None:
    shown: list[int] = []
    loop = await bench.go(tiny_loop, then=lambda: shown.append(1))
    assert loop.finished
    assert shown == [1]
    assert bench.made == STAGES
    assert bench.starts(Stage.SOCRATIC) == [str(bench.path / "01-clean" / "train.jsonl")]
    assert bench.starts(Stage.PLATOLM) == [str(bench.path / "03-dialogues")]
    assert bench.stack.started == [("02-socratic", "teacher")]
    assert bench.stack.replaced == [{"respondent": str(bench.path / "04-platolm" / "model")}]
    assert bench.stack.num_running == 0
    assert [request.spec.conversations for request in bench.requests] == [DEMO_LOOP.synthesis.conversations]

    await bench.go(tiny_loop)
    assert (bench.made, bench.skipped) == ([], STAGES)
    assert (len(bench.requests), len(bench.stack.started)) == (1, 1)


async def test_the_records_hold_commands_and_figures(bench: Bench, tiny_loop: LoopRecipe) -> None:
    await bench.go(tiny_loop)
    records = {stage: LoopFolder(bench.path).record(stage) for stage in Stage}
    figures = {stage: record.figures for stage, record in records.items() if record is not None}
    assert (
        figures[Stage.CLEAN]["num_train"] + figures[Stage.CLEAN]["num_test"] == figures[Stage.CLEAN]["num_read"] == 40
    )
    assert figures[Stage.SOCRATIC] == {"steps": 5, "held_out_loss": 3.0}
    assert figures[Stage.DIALOGUES]["finished"] == 4
    assert figures[Stage.EVALUATE] == {"socratic": "better than before", "platolm": "worse than before"}
    assert figures[Stage.SERVE]["replaced"] is True
    assert figures[Stage.SERVE]["answer"] == "Because."
    commands = [record.command for record in records.values() if record is not None]
    assert commands[0] == f"python -m training.loop.clean {bench.path}"
    assert commands[2].startswith(f"platolm run --conversations {DEMO_LOOP.synthesis.conversations} ")
    assert commands[5].startswith("platolm replace --respondent-model ")


@pytest.mark.parametrize(
    ("assignment", "first"),
    [
        ("test.share=0.3", 0),
        ("socratic.schedule.max_steps=7", 1),
        ("synthesis.conversations=5", 2),
        ("platolm.schedule.max_steps=7", 3),
        ("test.max_dialogues=5", 4),
    ],
)
async def test_a_change_makes_anew_what_hangs_on_it(
    bench: Bench, tiny_loop: LoopRecipe, assignment: str, first: int
) -> None:
    await bench.go(tiny_loop)
    await bench.go(with_overrides(tiny_loop, [assignment]))
    expected = STAGES[first:] if first < 4 else ["05-evaluate"]
    assert bench.made == expected
    assert bench.skipped == [stage for stage in STAGES if stage not in expected]
    outdated = {path.name.removesuffix("-1") for path in (bench.path / "outdated").iterdir()}
    assert outdated == {stage for stage in expected if stage != "06-serve"}


@pytest.mark.parametrize("name", ["teacher", "base", "people.jsonl"])
async def test_so_does_a_change_of_a_file(bench: Bench, tiny_loop: LoopRecipe, tmp_path: Path, name: str) -> None:
    await bench.go(tiny_loop)
    path = tmp_path / name if name.endswith("jsonl") else tmp_path / name / "config.json"
    text = path.read_text()
    path.write_text(text.replace("Answer 3.", "Another.") if name.endswith("jsonl") else "other weights")
    await bench.go(tiny_loop)
    assert bench.made == {"teacher": STAGES[2:], "base": STAGES[1:], "people.jsonl": STAGES}[name]


async def test_a_lost_output_is_made_again(bench: Bench, tiny_loop: LoopRecipe) -> None:
    await bench.go(tiny_loop)
    (bench.path / "04-platolm" / "model" / "config.json").unlink()
    await bench.go(tiny_loop)
    assert bench.made == STAGES[3:]
    assert (bench.path / "outdated" / "04-platolm-1" / "04-platolm" / "result.json").is_file()


async def test_a_failed_training_keeps_what_was_made(bench: Bench, tiny_loop: LoopRecipe) -> None:
    (bench.control / "fail").touch()
    with pytest.raises(TrainingError, match="02-socratic ended with code 1"):
        await bench.go(tiny_loop)
    assert bench.made == ["01-clean"]
    (bench.control / "fail").unlink()
    await bench.go(tiny_loop)
    assert (bench.skipped, bench.made) == (["01-clean"], STAGES[1:])
    assert len(bench.starts(Stage.SOCRATIC)) == 2, "in the same folder"


async def test_a_stopped_training_saves_and_goes_on(bench: Bench, tiny_loop: LoopRecipe) -> None:
    (bench.control / "hang").touch()
    task = asyncio.create_task(bench.go(tiny_loop))
    await until((bench.control / "hanging").exists)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (bench.path / "02-socratic" / "checkpoint").exists()
    record = LoopFolder(bench.path).record(Stage.SOCRATIC)
    assert record is not None
    assert (record.id, record.seconds > 0) == (None, True)
    (bench.control / "hang").unlink()
    await bench.go(tiny_loop)
    assert bench.skipped == ["01-clean"]
    assert (bench.path / "02-socratic" / "checkpoint").exists(), "the same folder went on"


async def test_a_stack_that_dies_ends_the_stage_beside_it(bench: Bench, tiny_loop: LoopRecipe) -> None:
    def die_in_training(*arguments: Any) -> list[str]:
        if bench.requests:
            (bench.control / "hang").touch()
            bench.stack.dies.set()
        return Bench.train_argv(bench, *arguments)

    with open_loop(bench.path, tiny_loop) as folder, pytest.raises(StackError, match="worker ended"):
        await Loop(tiny_loop, folder, Console(quiet=True), train_argv=die_in_training).run()
    assert bench.stack.num_running == 0


async def test_the_stack_may_make_room_for_the_training(bench: Bench, tiny_loop: LoopRecipe) -> None:
    await bench.go(with_overrides(tiny_loop, ["serve_while_training=false"]))
    assert bench.stack.started == [("02-socratic", "teacher"), ("02-socratic", "model")]
    assert bench.stack.replaced == []
    record = LoopFolder(bench.path).record(Stage.SERVE)
    assert record is not None
    assert record.figures["replaced"] is False


async def test_a_respondent_that_cannot_take_over_is_started_anew(bench: Bench, tiny_loop: LoopRecipe) -> None:
    bench.stack.refuses = True
    await bench.go(tiny_loop)
    assert bench.stack.started == [("02-socratic", "teacher"), ("02-socratic", "model")]
    assert "stack started anew: another tokenizer" in bench.said
    assert bench.stack.num_running == 0


@pytest.mark.parametrize("made_earlier", [False, True])
async def test_kept_it_serves_the_new_pair_until_it_is_stopped(
    bench: Bench, tiny_loop: LoopRecipe, made_earlier: bool
) -> None:
    if made_earlier:
        await bench.go(tiny_loop)
    finished = asyncio.Event()
    task = asyncio.create_task(bench.go(tiny_loop, keep=True, then=finished.set))
    await finished.wait()
    await until(lambda: bench.stack.num_running == 1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "simulator          http://127.0.0.1:8001/v1" in bench.said
    assert bench.stack.started[1:] == ([("02-socratic", "model")] if made_earlier else [])
    assert bench.stack.num_running == 0


async def test_questions_come_from_the_training_dialogues(bench: Bench, tiny_loop: LoopRecipe) -> None:
    await bench.go(with_overrides(tiny_loop, ["synthesis.seeds=questions", "synthesis.conversations=7"]))
    [request] = bench.requests
    lines = (bench.path / "01-clean" / "train.jsonl").read_text().splitlines()
    openings = [json.loads(line)["conversations"][0]["value"] for line in lines]
    assert [seed.question for seed in request.seeds] == openings[:7]


async def test_no_data_is_said_before_anything_is_made(bench: Bench, tiny_loop: LoopRecipe) -> None:
    with pytest.raises(InputError, match="no such file or folder"):
        await bench.go(tiny_loop.model_copy(update={"data": (str(bench.path / "none"),)}))
    assert not (bench.path / "stages").exists()
