"""What a loop's folder knows: a stage is done once, from its inputs, with its output there; nothing is removed."""

from __future__ import annotations

from pathlib import Path

import pytest

from platolm.errors import InputError, OccupiedError, OutputError
from training.loop.folder import LOOP_FILE, LoopFolder, Stage, open_loop
from training.loop.recipe import DEMO_LOOP
from training.recipes.overrides import with_overrides

COMPLETE = {
    Stage.CLEAN: ["train.jsonl", "test.jsonl", "report.json"],
    Stage.SOCRATIC: ["result.json", "model/config.json"],
    Stage.DIALOGUES: ["sharegpt.jsonl"],
    Stage.PLATOLM: ["result.json", "model/config.json"],
    Stage.EVALUATE: ["report.json"],
}


def put_output(folder: LoopFolder, stage: Stage) -> None:
    for name in COMPLETE[stage]:
        path = folder.output(stage) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def folder(tmp_path: Path) -> LoopFolder:
    return LoopFolder(tmp_path / "loop")


@pytest.mark.parametrize("stage", COMPLETE)
def test_a_stage_is_done_while_all_of_its_output_is_there(folder: LoopFolder, stage: Stage) -> None:
    assert folder.done(stage, "f") is None
    folder.begin(stage, "f", "command")
    with pytest.raises(OutputError, match="is not whole"):
        folder.finish(stage, 1.0, {})
    put_output(folder, stage)
    assert folder.done(stage, "f") is None, "not before it is finished"
    folder.finish(stage, 1.0, {"n": 1})
    record = folder.done(stage, "f")
    assert record is not None
    assert (record.command, record.seconds, record.figures) == ("command", 1.0, {"n": 1})
    assert folder.done(stage, "g") is None, "other inputs"
    (folder.output(stage) / COMPLETE[stage][-1]).unlink()
    assert folder.done(stage, "f") is None


def test_each_completion_has_an_id_of_its_own(folder: LoopFolder) -> None:
    ids = set()
    for _ in range(2):
        folder.begin(Stage.SERVE, "f", "command")
        ids.add(folder.finish(Stage.SERVE, 1.0, {}).id)
    assert len(ids - {None}) == 2


def test_a_stopped_stage_goes_on_with_what_it_has(folder: LoopFolder) -> None:
    assert folder.begin(Stage.SOCRATIC, "f", "command") is None
    (folder.output(Stage.SOCRATIC) / "checkpoints").mkdir(parents=True)
    folder.pause(Stage.SOCRATIC, 2.0)
    assert folder.begin(Stage.SOCRATIC, "f", "command") is None
    assert (folder.output(Stage.SOCRATIC) / "checkpoints").is_dir()
    put_output(folder, Stage.SOCRATIC)
    assert folder.finish(Stage.SOCRATIC, 3.0, {}).seconds == 5.0


def test_an_output_of_other_inputs_is_moved_aside(folder: LoopFolder) -> None:
    places = []
    for number in range(3):
        places.append(folder.begin(Stage.SOCRATIC, f"inputs {number}", "command"))
        put_output(folder, Stage.SOCRATIC)
        folder.finish(Stage.SOCRATIC, 1.0, {})
    outdated = folder.path / "outdated"
    assert places == [None, outdated / "02-socratic-1", outdated / "02-socratic-2"]
    assert (outdated / "02-socratic-2" / "02-socratic" / "model" / "config.json").is_file()
    assert folder.begin(Stage.SOCRATIC, "inputs 3", "command") is not None
    assert not folder.output(Stage.SOCRATIC).exists()


def test_the_stack_of_other_dialogues_goes_with_them(folder: LoopFolder) -> None:
    folder.begin(Stage.DIALOGUES, "f", "command")
    (folder.stack / "redis").mkdir(parents=True)
    folder.pause(Stage.DIALOGUES, 1.0)
    place = folder.begin(Stage.DIALOGUES, "g", "command")
    assert place is not None
    assert (place / "stack" / "redis").is_dir()
    assert not folder.stack.exists()
    (folder.stack / "redis").mkdir(parents=True)
    folder.begin(Stage.PLATOLM, "f", "command")
    folder.begin(Stage.PLATOLM, "g", "command")
    assert folder.stack.is_dir()


def test_the_folder_keeps_the_resolved_recipe(tmp_path: Path) -> None:
    path = tmp_path / "loop"
    for steps in (1, 2):
        loop = with_overrides(DEMO_LOOP, [f"socratic.schedule.max_steps={steps}"])
        with open_loop(path, loop) as folder:
            assert folder.loop() == loop
    (path / LOOP_FILE).write_text("{}")
    with pytest.raises(InputError, match=r"holds no loop\.json of this version"):
        LoopFolder(path).loop()


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with pytest.raises(OccupiedError, match="holds no loop"), open_loop(tmp_path / "mine", DEMO_LOOP):
        pytest.fail("entered")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["file"]
    with pytest.raises(OutputError, match="give another --out"), open_loop(tmp_path / "mine" / "file", DEMO_LOOP):
        pytest.fail("entered")


def test_one_loop_a_folder(tmp_path: Path) -> None:
    with (
        open_loop(tmp_path / "loop", DEMO_LOOP),
        pytest.raises(OccupiedError, match="another loop works in"),
        open_loop(tmp_path / "loop", DEMO_LOOP),
    ):
        pytest.fail("entered")
