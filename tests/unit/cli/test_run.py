"""`platolm run` as a real process against a fake API, with the faults that a long run meets."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from platolm.cli.run import resume_command
from platolm.dataset import read_manifest, segment_path
from platolm.runs import RunSpec
from tests.unit.cli.conftest import RunCommand, StartCommand, wait_until
from tests.unit.cli.fake_api import FakeApi


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "sharegpt.jsonl").read_text(encoding="utf-8").splitlines()]


def assert_complete(folder: Path, num_conversations: int) -> None:
    assert [line["index"] for line in lines_of(folder)] == list(range(num_conversations))
    left = sorted(path.name for path in folder.iterdir())
    assert left == ["manifest", "run.json", "segments", "sharegpt.jsonl"]
    for entry in read_manifest(folder):
        assert hashlib.sha256(segment_path(folder, entry.segment).read_bytes()).hexdigest() == entry.sha256


async def test_a_run_comes_home_in_order_with_everything_but_token_ids(platolm: RunCommand, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    result = await platolm("run", "-n", "35", "--out", out)
    assert result.code == 0, result.stderr
    assert_complete(out, 35)
    first = lines_of(out)[0]
    assert first["conversations"][0] == {"from": "human", "value": "0/0 é ✓"}
    assert first["termination_reason"] == "turn_limit"
    assert first["simulator"]["sampling"] == {"temperature": 0.7}
    assert first["turns"][0] == {"role": "user", "num_tokens": 7, "finish_reason": "stop"}


async def test_the_summary_is_on_stdout_and_progress_on_stderr_without_escapes(
    platolm: RunCommand, tmp_path: Path
) -> None:
    result = await platolm("run", "-n", "35", "--out", tmp_path / "out")
    assert "35 of 35 conversations" in result.stdout
    assert "turn_limit 35" in result.stdout
    assert "35.0" in result.stdout  # per minute: the fake's records end 60 s after the run's creation
    assert "35/35 conversations" in result.stderr
    assert "\x1b" not in result.stdout + result.stderr


async def test_json_summary(platolm: RunCommand, tmp_path: Path) -> None:
    result = await platolm("run", "-n", "20", "--out", tmp_path / "out", "--json")
    summary = json.loads(result.stdout)
    assert summary["finished"] == 20
    assert summary["mean_rounds"] == 2
    assert summary["mean_utterance_tokens"] == 7
    assert summary["tokens_per_s"] == pytest.approx(20 * 4 * 7 / 60)
    assert summary["dataset"] == str(tmp_path / "out" / "sharegpt.jsonl")


async def test_show_prints_the_whole_spec_and_contacts_nobody(api: FakeApi, platolm: RunCommand) -> None:
    await api.stop()
    result = await platolm("run", "--show", "--seed", "5", "--max-turns", "8")
    shown = json.loads(result.stdout)
    spec = RunSpec.model_validate(shown["spec"])
    assert (spec.seed, spec.endings.max_turns, spec.conversations) == (5, 8, 64)
    assert spec.simulator.sampling.max_tokens == 512


async def test_warnings_of_the_api_are_shown(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    api.warnings = ["the models' limit is 1024: context_tokens is 1024"]
    result = await platolm("run", "-n", "5", "--out", tmp_path / "out")
    assert "the models' limit is 1024" in result.stderr


async def test_an_api_that_is_not_there_is_one_line_and_leaves_nothing(
    api: FakeApi, platolm: RunCommand, tmp_path: Path
) -> None:
    await api.stop()
    result = await platolm("run", "--out", tmp_path / "out")
    assert result.code == 1
    assert result.stderr.count("\n") == 1
    assert "platolm up" in result.stderr
    assert not (tmp_path / "out").exists()


async def test_a_refused_run_leaves_nothing(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    api.refusal = "no model serves the simulator"
    result = await platolm("run", "--out", tmp_path / "out")
    assert result.code == 1
    assert "no model serves the simulator" in result.stderr
    assert not (tmp_path / "out").exists()


async def test_the_api_goes_away_and_comes_back(api: FakeApi, start: StartCommand, tmp_path: Path) -> None:
    command = await start("run", "-n", "200", "--out", tmp_path / "out")
    await wait_until(lambda: api.segment_requests >= 3)
    await api.stop()
    await asyncio.sleep(1)
    await api.start()
    result = await command.result()
    assert result.code == 0, result.stderr
    assert "trying again" in result.stderr
    assert "answers again" in result.stderr
    assert api.submissions == 1
    assert_complete(tmp_path / "out", 200)


async def test_it_gives_up_on_an_api_that_stays_away_and_goes_on_later(
    api: FakeApi, start: StartCommand, platolm: RunCommand, tmp_path: Path
) -> None:
    arguments = ("run", "-n", "200", "--out", tmp_path / "out", "--give-up-after", "1")
    command = await start(*arguments)
    await wait_until(lambda: api.segment_requests >= 3)
    await api.stop()
    result = await command.result()
    assert result.code == 1
    assert "to go on later: platolm run -n 200" in result.stderr
    await api.start()
    assert (await platolm(*arguments)).code == 0
    assert_complete(tmp_path / "out", 200)


async def test_killed_at_any_moment_it_goes_on(api: FakeApi, start: StartCommand, tmp_path: Path) -> None:
    arguments = ("run", "-n", "400", "--out", tmp_path / "out")
    for segments in (0, 2, 9, 20):
        command = await start(*arguments)
        await wait_until(lambda number=segments: api.segment_requests > number)  # type: ignore[misc]
        await command.kill()
    result = await (await start(*arguments)).result()
    assert result.code == 0, result.stderr
    assert len(api.runs) == 1
    assert api.segment_requests <= 40 + 4  # at most the one in flight at each kill is fetched twice
    assert_complete(tmp_path / "out", 400)


async def test_killed_before_the_api_answered_it_does_not_submit_a_second_run(
    api: FakeApi, start: StartCommand, platolm: RunCommand, tmp_path: Path
) -> None:
    arguments = ("run", "-n", "20", "--out", tmp_path / "out")
    api.hold_submissions.clear()
    command = await start(*arguments)
    await wait_until(lambda: api.submissions == 1)
    await command.kill()
    assert json.loads((tmp_path / "out" / "run.json").read_text())["run_id"] is None
    api.hold_submissions.set()
    assert (await platolm(*arguments)).code == 0
    assert len(api.runs) == 1
    assert_complete(tmp_path / "out", 20)


async def test_ctrl_c_says_how_to_go_on(api: FakeApi, start: StartCommand, tmp_path: Path) -> None:
    command = await start("run", "-n", "2000")
    await wait_until(lambda: api.segment_requests >= 2)
    result = await command.kill(signal.SIGINT)
    assert result.code == 130
    assert "Traceback" not in result.stderr
    (folder,) = (tmp_path / "runs").iterdir()
    assert f"platolm run -n 2000 --out runs/{folder.name}" in result.stderr


async def test_a_segment_damaged_on_its_way_is_fetched_again(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    api.damaged_replies = 2
    assert (await platolm("run", "-n", "20", "--out", tmp_path / "out")).code == 0
    assert api.segment_requests == 2 + 2
    assert_complete(tmp_path / "out", 20)


async def test_a_segment_that_stays_damaged_is_never_committed(
    api: FakeApi, platolm: RunCommand, tmp_path: Path
) -> None:
    api.damaged_replies = 1000
    result = await platolm("run", "-n", "20", "--out", tmp_path / "out")
    assert result.code == 1
    assert "damaged" in result.stderr
    assert read_manifest(tmp_path / "out") == []
    assert not (tmp_path / "out" / "sharegpt.jsonl").exists()


async def test_a_segment_damaged_on_the_disk_is_fetched_again(
    api: FakeApi, start: StartCommand, platolm: RunCommand, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    arguments = ("run", "-n", "300", "--out", out)
    command = await start(*arguments)
    await wait_until(lambda: len(read_manifest(out)) >= 4)
    await command.kill()
    segment_path(out, read_manifest(out)[1].segment).write_bytes(b"rotten")
    assert (await platolm(*arguments)).code == 0
    assert_complete(out, 300)


async def test_a_complete_run_is_left_alone_even_without_the_api(
    api: FakeApi, platolm: RunCommand, tmp_path: Path
) -> None:
    arguments = ("run", "-n", "20", "--out", tmp_path / "out")
    assert (await platolm(*arguments)).code == 0
    await api.stop()
    before = (tmp_path / "out" / "sharegpt.jsonl").stat().st_mtime_ns
    result = await platolm(*arguments)
    assert result.code == 0
    assert "complete" in result.stderr
    assert "20 of 20 conversations" in result.stdout
    assert (tmp_path / "out" / "sharegpt.jsonl").stat().st_mtime_ns == before


async def test_a_dataset_that_was_moved_away_is_made_again(platolm: RunCommand, tmp_path: Path) -> None:
    arguments = ("run", "-n", "20", "--out", tmp_path / "out")
    assert (await platolm(*arguments)).code == 0
    (tmp_path / "out" / "sharegpt.jsonl").unlink()
    assert (await platolm(*arguments)).code == 0
    assert_complete(tmp_path / "out", 20)


@pytest.mark.parametrize("changed", [["--seed", "1"], ["--max-turns", "4"], ["-n", "21"], ["--temperature", "0.8"]])
async def test_a_folder_with_another_run_is_refused(
    api: FakeApi, platolm: RunCommand, tmp_path: Path, changed: list[str]
) -> None:
    assert (await platolm("run", "-n", "20", "--out", tmp_path / "out")).code == 0
    before = (tmp_path / "out" / "run.json").read_bytes()
    result = await platolm("run", "-n", "20", *changed, "--out", tmp_path / "out")
    assert result.code == 2
    assert "holds another run (other spec)" in result.stderr
    assert (tmp_path / "out" / "run.json").read_bytes() == before
    assert api.submissions == 1


async def test_other_seeds_are_another_run(platolm: RunCommand, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text('{"question": "why?"}\n')
    assert (await platolm("run", "--seeds", seeds, "--out", tmp_path / "out")).code == 0
    seeds.write_text('{"question": "how?"}\n')
    result = await platolm("run", "--seeds", seeds, "--out", tmp_path / "out")
    assert result.code == 2
    assert "other seeds" in result.stderr


async def test_a_folder_that_is_no_run_is_refused(platolm: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    result = await platolm("run", "-n", "20", "--out", tmp_path)
    assert result.code == 2
    assert "holds no run" in result.stderr
    assert os.listdir(tmp_path) == ["precious.txt"]


async def test_a_file_as_folder_is_refused(platolm: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    result = await platolm("run", "-n", "20", "--out", tmp_path / "file")
    assert result.code == 2
    assert (tmp_path / "file").read_text() == "mine"


async def test_two_commands_do_not_share_a_folder(
    api: FakeApi, start: StartCommand, platolm: RunCommand, tmp_path: Path
) -> None:
    arguments = ("run", "-n", "3000", "--out", tmp_path / "out")
    first = await start(*arguments)
    await wait_until(lambda: api.segment_requests >= 1)
    second = await platolm(*arguments)
    assert second.code == 2
    assert "another platolm run is writing" in second.stderr
    await first.kill()


async def test_an_api_that_lost_the_run_is_not_given_a_new_one(
    api: FakeApi, start: StartCommand, platolm: RunCommand, tmp_path: Path
) -> None:
    arguments = ("run", "-n", "3000", "--out", tmp_path / "out")
    command = await start(*arguments)
    await wait_until(lambda: api.segment_requests >= 1)
    await command.kill()
    api.runs.clear()
    result = await platolm(*arguments)
    assert result.code == 1
    assert "does not know run run-1" in result.stderr
    assert api.runs == {}


async def test_dead_conversations_make_it_a_failure_with_the_rest_kept(
    api: FakeApi, platolm: RunCommand, tmp_path: Path
) -> None:
    api.dead_indices = frozenset({3, 7})
    result = await platolm("run", "-n", "20", "--out", tmp_path / "out")
    assert result.code == 1
    assert "run-1-00000003 after 3 attempts: the engine said no" in result.stderr
    assert [line["index"] for line in lines_of(tmp_path / "out")] == [i for i in range(20) if i not in {3, 7}]


async def test_seeds_set_the_number_and_go_to_the_api(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text('{"question": "why?"}\n\n{"instruction": "add", "input": "1 and 2"}\n')
    assert (await platolm("run", "--seeds", seeds, "--out", tmp_path / "out")).code == 0
    request = api.only_run.request
    assert request.spec.conversations == 2
    assert [(seed.question, seed.line) for seed in request.seeds] == [("why?", 1), ("add\n\n1 and 2", 3)]


async def test_more_conversations_than_seeds_is_said(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text('{"question": "why?"}\n{"question": "how?"}\n')
    result = await platolm("run", "--seeds", tmp_path / "seeds.jsonl", "-n", "10", "--out", tmp_path / "out")
    assert "10 conversations from 2 seeds" in result.stderr
    assert api.only_run.request.spec.conversations == 10


async def test_broken_seeds_are_listed_and_stop_it(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    lines = ['{"question": "why?"}', "{broken", '{"question": "  "}', *(["[1]"] * 30)]
    (tmp_path / "seeds.jsonl").write_text("\n".join(lines))
    result = await platolm("run", "--seeds", tmp_path / "seeds.jsonl", "--out", tmp_path / "out")
    assert result.code == 2
    assert "line 2: not JSON" in result.stderr
    assert "line 3: its question is empty" in result.stderr
    assert "… and 12 more" in result.stderr
    assert "32 of 33 lines are unusable" in result.stderr
    assert api.submissions == 0
    assert not (tmp_path / "out").exists()


async def test_broken_seeds_can_be_left_out(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "seeds.jsonl").write_text('{"question": "why?"}\n{broken\n')
    result = await platolm("run", "--seeds", tmp_path / "seeds.jsonl", "--skip-bad", "--out", tmp_path / "out")
    assert result.code == 0
    assert "line 2: not JSON" in result.stderr
    assert api.only_run.request.spec.conversations == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--seed-mode", "question"], "needs a --seeds file"),
        (["--seed-mode", "free", "--seeds", "nowhere.jsonl"], "takes no --seeds"),
        (["--seeds", "nowhere.jsonl"], "no such file"),
        (["--api", "localhost"], "begins with http"),
        (["--max-turns", "1"], "--max-turns"),
        (["--seed", str(2**63)], "seed"),
    ],
)
async def test_misuse_is_exit_2_and_says_what(platolm: RunCommand, arguments: list[str], said: str) -> None:
    result = await platolm("run", *arguments)
    assert result.code == 2
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_the_resume_command_names_the_folder_once() -> None:
    assert resume_command(Path("runs/x"), ["run", "-n", "5"]) == "platolm run -n 5 --out runs/x"
    assert resume_command(Path("a b"), ["run", "--out", "a b"]) == "platolm run --out 'a b'"
    assert resume_command(Path("x"), ["run", "--out=x"]) == "platolm run --out=x"
