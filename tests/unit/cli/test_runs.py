"""`platolm runs ...` as real processes against a fake API."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from platolm.cli.runs.lookup import the_only
from platolm.errors import InputError
from platolm.runs import RunProgress, RunState
from platolm.spec import RunRequest, RunSpec
from platolm.spec_file import read_spec_file
from tests.unit.cli.conftest import Result, RunCommand, StartCommand, wait_until
from tests.unit.cli.fake_api import FakeApi
from tests.unit.cli.fake_run import FakeRun


@pytest.fixture
def run(api: FakeApi) -> FakeRun:
    """A run of 30 conversations: 10 are committed, 2 are dead, nothing more happens by itself."""
    request = RunRequest(spec=RunSpec(conversations=30, name="[bold]mine"))
    run = api.runs["run-4f2a"] = FakeRun("run-4f2a", request, dead_indices=frozenset({3, 7}), is_paced=False)
    run.commit(10)
    return run


def json_of(result: Result) -> Any:
    assert result.code == 0, result.stderr
    return json.loads(result.stdout)


def progress_of(run_id: str) -> RunProgress:
    return FakeRun(run_id, RunRequest(spec=RunSpec(conversations=1))).progress()


async def test_list(run: FakeRun, api: FakeApi, platolm: RunCommand) -> None:
    api.runs["run-9999"] = FakeRun("run-9999", RunRequest(spec=RunSpec(conversations=5)))
    shown = await platolm("runs", "list")
    assert shown.code == 0, shown.stderr
    assert "run-4f2a" in shown.stdout
    assert "[bold]mine" in shown.stdout
    assert "\x1b" not in shown.stdout
    listed = json_of(await platolm("runs", "list", "--json"))
    assert [one["id"] for one in listed["runs"]] == ["run-4f2a", "run-9999"]
    run.is_cancelled = True
    cancelled = json_of(await platolm("runs", "list", "--json", "--state", "cancelled"))
    assert [one["id"] for one in cancelled["runs"]] == ["run-4f2a"]


async def test_list_without_runs_says_what_to_do(platolm: RunCommand) -> None:
    result = await platolm("runs", "list")
    assert (result.code, result.stdout) == (0, "")
    assert "platolm runs submit" in result.stderr


async def test_show_by_the_beginning_of_the_id(run: FakeRun, platolm: RunCommand) -> None:
    for name in ("run-4f2a", "run-4", "4f2"):
        shown = await platolm("runs", "show", name)
        assert shown.code == 0, shown.stderr
        assert "10, in the dataset 10" in shown.stdout
    assert json_of(await platolm("runs", "show", "4f2", "--json"))["committed"] == 10


async def test_show_gives_the_spec_as_a_file(run: FakeRun, platolm: RunCommand, tmp_path: Path) -> None:
    shown = await platolm("runs", "show", "4f2", "--spec")
    (tmp_path / "run.yaml").write_text(shown.stdout)
    assert read_spec_file(tmp_path / "run.yaml").spec() == run.request.spec
    shown = await platolm("runs", "show", "4f2", "--spec", "--json")
    (tmp_path / "run.json").write_text(shown.stdout)
    assert read_spec_file(tmp_path / "run.json").spec() == run.request.spec


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("run-5", "no run's id begins with run-5"),
        ("Run/../x", "'Run/../x' is no id of a run"),
        ("-5", "No such option"),
    ],
)
async def test_a_run_that_is_not_there(run: FakeRun, platolm: RunCommand, name: str, said: str) -> None:
    result = await platolm("runs", "show", name)
    assert result.code == 2
    assert said in result.stderr


def test_a_beginning_names_one_run() -> None:
    runs = [progress_of(run_id) for run_id in ("run-4f2a", "run-4f3b", "run-abc")]
    assert the_only("4f2", runs).id == "run-4f2a"
    assert the_only("run-a", runs).id == "run-abc"
    with pytest.raises(InputError, match=r"^2 runs begin with 4f: run-4f2a, run-4f3b; write more of the id$"):
        the_only("4f", runs)
    with pytest.raises(InputError, match=r"^3 runs begin with r"):
        the_only("r", runs)


async def test_pause_resume_and_cancel(run: FakeRun, platolm: RunCommand) -> None:
    paused = await platolm("runs", "pause", "4f2a")
    assert (paused.code, run.state) == (0, RunState.PAUSED)
    assert paused.stderr.splitlines() == ["run-4f2a is paused", "`platolm runs resume run-4f2a` has it go on"]
    assert json_of(await platolm("runs", "show", "4f2a", "--json"))["pause"]["reason"] == "asked for"
    assert json_of(await platolm("runs", "resume", "4f2a", "--json"))["state"] == "running"
    cancelled = await platolm("runs", "cancel", "4f2a")
    assert (cancelled.code, cancelled.stderr, run.is_cancelled) == (0, "run-4f2a is cancelled\n", True)


@pytest.mark.parametrize(("answer", "is_cancelled"), [("n", False), ("y", True)])
async def test_on_a_terminal_cancel_asks(run: FakeRun, start: StartCommand, answer: str, is_cancelled: bool) -> None:
    ours, theirs = os.openpty()
    try:
        command = await start("runs", "cancel", "4f2a", stdin=theirs)
        os.write(ours, f"{answer}\n".encode())
        result = await command.result()
    finally:
        os.close(ours)
        os.close(theirs)
    assert "Give up 18 conversations of run-4f2a, for good?" in result.stderr
    assert run.is_cancelled is is_cancelled
    assert result.code == (0 if is_cancelled else 1)


async def test_on_a_terminal_yes_answers_before(run: FakeRun, start: StartCommand) -> None:
    ours, theirs = os.openpty()
    try:
        result = await (await start("runs", "cancel", "4f2a", "--yes", stdin=theirs)).result()
    finally:
        os.close(ours)
        os.close(theirs)
    assert (result.code, run.is_cancelled, "?" in result.stderr) == (0, True, False)


async def test_dead_and_retry_dead(run: FakeRun, platolm: RunCommand) -> None:
    shown = await platolm("runs", "dead", "4f2a")
    assert "run-4f2a-00000003" in shown.stdout
    assert "the engine said no" in shown.stdout
    assert [one["index"] for one in json_of(await platolm("runs", "dead", "4f2a", "--json"))["dead"]] == [3, 7]
    retried = await platolm("runs", "retry-dead", "4f2a")
    assert "2 dead conversations are tried again" in retried.stderr
    assert run.dead_indices == frozenset()
    assert json_of(await platolm("runs", "retry-dead", "4f2a", "--json"))["retried"] == 0
    assert "no conversation is dead" in (await platolm("runs", "dead", "4f2a")).stderr


async def test_conversations_come_in_as_many_calls_as_it_takes(run: FakeRun, platolm: RunCommand) -> None:
    page = json_of(await platolm("runs", "conversations", "4f2a", "--limit", "20", "--json"))
    assert [one["index"] for one in page["conversations"]] == list(range(20))
    rest = json_of(await platolm("runs", "conversations", "4f2a", "--cursor", page["next_cursor"], "--json"))
    assert [one["index"] for one in rest["conversations"]] == list(range(20, 30))
    assert rest["next_cursor"] is None
    dead = json_of(await platolm("runs", "conversations", "4f2a", "--state", "dead", "--json"))
    assert [one["index"] for one in dead["conversations"]] == [3, 7]


async def test_conversations_as_a_table(run: FakeRun, platolm: RunCommand) -> None:
    result = await platolm("runs", "conversations", "4f2a", "--limit", "5")
    assert result.code == 0, result.stderr
    rows = [line for line in result.stdout.splitlines() if "run-4f2a-" in line]
    assert len(rows) == 5
    assert "turn_limit" in rows[0]
    assert "dead" in rows[3]
    assert "there are more: --cursor 5" in result.stderr


async def test_one_conversation(run: FakeRun, platolm: RunCommand) -> None:
    shown = await platolm("runs", "conversation", "run-4f2a-00000004")
    assert shown.code == 0, shown.stderr
    assert "4/0 é ✓" in shown.stdout
    assert "finished: turn_limit" in shown.stdout
    detail = json_of(await platolm("runs", "conversation", "run-4f2a-00000004", "--json"))
    assert (detail["record"]["index"], len(detail["turns"])) == (4, 4)
    dead = await platolm("runs", "conversation", "run-4f2a-00000003")
    assert "failed 3 times in a row, last: the engine said no" in dead.stderr
    missing = await platolm("runs", "conversation", "../runs")
    assert (missing.code, "no such conversation" in missing.stderr) == (1, True)


async def test_submit_prints_the_id_and_is_not_done_twice(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text('{"question": "why?"}\n')
    (tmp_path / "run.yaml").write_text("seeds: seeds.jsonl\nrepeats: 3\n")
    arguments = ("runs", "submit", "run.yaml", "--name", "monday", "--key", "monday")
    first = await platolm(*arguments)
    assert (first.code, first.stdout) == (0, "run-1\n")
    assert (await platolm(*arguments)).stdout == "run-1\n"
    assert list(api.keys) == ["monday"]
    spec = api.only_run.request.spec
    assert (spec.conversations, spec.repeats, spec.name) == (3, 3, "monday")
    assert json_of(await platolm("runs", "submit", "--json", "-n", "5"))["spec"]["conversations"] == 5


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ([], "run-4f2a.sharegpt.jsonl"),
        (["--format", "openai"], "run-4f2a.openai.jsonl"),
        (["--format", "parquet"], "run-4f2a.parquet"),
        (["--format", "openai", "--out", "deep/x.jsonl"], "deep/x.jsonl"),
    ],
)
async def test_dataset(run: FakeRun, platolm: RunCommand, tmp_path: Path, arguments: list[str], name: str) -> None:
    result = await platolm("runs", "dataset", "4f2a", *arguments)
    assert (result.code, result.stdout) == (0, f"{name}\n"), result.stderr
    assert "run-4f2a is running: 10 of 30 conversations are in its dataset" in result.stderr
    lines = [json.loads(line) for line in (tmp_path / name).read_bytes().splitlines()]
    form = arguments[1] if arguments else "sharegpt"
    assert lines == [{"format": form, "index": index} for index in (0, 1, 2, 4, 5, 6, 8, 9, 10, 11)]


async def test_a_dataset_of_what_is_marked(run: FakeRun, platolm: RunCommand, tmp_path: Path) -> None:
    result = await platolm("runs", "dataset", "4f2a", "--mark", "good", "--out", "x.jsonl")
    assert result.code == 0, result.stderr
    assert json.loads((tmp_path / "x.jsonl").read_text().splitlines()[0])["mark"] == "good"
    assert (await platolm("runs", "dataset", "4f2a", "--mark", "fine")).code == 2


async def test_a_dataset_that_is_cut_short_leaves_the_old_file(
    api: FakeApi, run: FakeRun, platolm: RunCommand, tmp_path: Path
) -> None:
    (tmp_path / "x.jsonl").write_text("old")
    api.cut_dataset_short = True
    result = await platolm("runs", "dataset", "4f2a", "--out", "x.jsonl")
    assert result.code == 1
    assert "error: the API at" in result.stderr
    assert (tmp_path / "x.jsonl").read_text() == "old"
    assert os.listdir(tmp_path) == ["x.jsonl"]


async def test_a_dataset_that_cannot_be_written(run: FakeRun, platolm: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = await platolm("runs", "dataset", "4f2a", "--out", "file/x.jsonl")
    assert result.code == 1
    assert "cannot be written" in result.stderr


async def test_follow_ends_with_the_run(api: FakeApi, platolm: RunCommand) -> None:
    assert (await platolm("runs", "submit", "-n", "35")).stdout == "run-1\n"
    result = await platolm("runs", "follow", "1")
    assert result.code == 0, result.stderr
    assert "35/35 conversations" in result.stderr
    assert "completed" in result.stdout
    assert api.segment_requests == 0


async def test_follow_tells_of_a_cancellation(run: FakeRun, start: StartCommand, api: FakeApi) -> None:
    command = await start("runs", "follow", "4f2a", "--json")
    await wait_until(lambda: api.progress_events >= 2)
    run.is_cancelled = True
    result = await command.result()
    assert result.code == 1
    assert "the run was cancelled: 10 of 30" in result.stderr
    assert json.loads(result.stdout)["cancelled"] == 18


async def test_ctrl_c_stops_only_the_watching(run: FakeRun, start: StartCommand, api: FakeApi) -> None:
    command = await start("runs", "follow", "4f2a")
    await wait_until(lambda: api.progress_events >= 2)
    result = await command.kill(signal.SIGINT)
    assert result.code == 130
    assert "stopped watching; the run goes on" in result.stderr
    assert run.state is RunState.RUNNING


async def test_an_api_that_is_not_there_and_one_that_wants_a_key(
    run: FakeRun, api: FakeApi, platolm: RunCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.api_key = "s3cret"
    refused = await platolm("runs", "list")
    assert (refused.code, "PLATOLM_API_KEY" in refused.stderr) == (1, True)
    monkeypatch.setenv("PLATOLM_API_KEY", "s3cret")
    assert (await platolm("runs", "list")).code == 0
    await api.stop()
    gone = await platolm("runs", "list")
    assert (gone.code, gone.stderr.count("\n")) == (1, 1)
    assert "platolm up" in gone.stderr
