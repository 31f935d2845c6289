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
from platolm.runs import Pause, PausedBy
from platolm.sampling import Sampling
from platolm.spec import Endings, Limits, Output, OutputFormat, RunSpec, SideSpec
from tests.unit.cli.conftest import RunCommand, StartCommand, wait_until
from tests.unit.cli.fake_api import FakeApi


def lines_of(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "sharegpt.jsonl").read_bytes().splitlines()]


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
    result = await platolm("run", "--show", "--json", "--seed", "5", "--max-turns", "8")
    shown = json.loads(result.stdout)
    assert shown.pop("seeds") is None
    spec = RunSpec.model_validate(shown)
    assert (spec.seed, spec.endings.max_turns, spec.conversations) == (5, 8, 64)
    assert spec.simulator.sampling.max_tokens == 512


@pytest.mark.parametrize("name", ["run.yaml", "run.json"])
async def test_what_show_prints_is_a_spec_file(platolm: RunCommand, tmp_path: Path, name: str) -> None:
    (tmp_path / "seeds.jsonl").write_text('{"intent": "a"}\n{"persona": "b"}\n')
    options = [
        "--seeds",
        "seeds.jsonl",
        "--seed-mode",
        "intent",
        "--repeats",
        "3",
        "--stop-phrase",
        "no",
        "--name",
        "1e-3",
    ]
    form = ["--json"] if name.endswith(".json") else []
    shown = await platolm("run", "--show", *options, *form)
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / name).write_text(shown.stdout)
    again = await platolm("run", f"specs/{name}", "--show", *form)
    assert again.stdout == shown.stdout, again.stderr
    assert str(tmp_path / "seeds.jsonl") in shown.stdout
    changed = await platolm("run", f"specs/{name}", "--show", "--json", "--repeats", "2", "-n", "9")
    spec = json.loads(changed.stdout)
    assert (spec["repeats"], spec["conversations"], spec["name"], spec["seed_mode"]) == (2, 9, "1e-3", "intent")


async def test_every_option_finds_its_field(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    result = await platolm(
        *("run", "-n", "3", "--name", "mine", "--seed", "4", "--context-tokens", "99", "--min-turns", "2"),
        *("--max-turns", "6", "--stop-phrase", "bye", "--stop-phrase", "ciao", "--max-in-flight", "5"),
        *("--simulator-model", "s", "--respondent-model", "r", "--temperature", "0.25", "--max-tokens", "11"),
        *("--format", "parquet", "--output-url", "s3://bucket/x", "--out", tmp_path / "out"),
    )
    assert result.code == 0, result.stderr
    sampling = Sampling(temperature=0.25, max_tokens=11)
    assert api.only_run.request.spec == RunSpec(
        conversations=3,
        name="mine",
        seed=4,
        simulator=SideSpec(profile="socratic", model="s", sampling=sampling),
        respondent=SideSpec(profile="platolm", model="r", sampling=sampling),
        endings=Endings(context_tokens=99, min_turns=2, max_turns=6, stop_phrases=["bye", "ciao"]),
        limits=Limits(in_flight=5),
        output=Output(url="s3://bucket/x", format=OutputFormat.PARQUET),
    )


async def test_a_spec_file_is_run_with_its_seeds(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs" / "seeds.jsonl").write_text('{"question": "why?"}\n{"question": "how?"}\n')
    (tmp_path / "specs" / "run.yaml").write_text("seeds: seeds.jsonl\nrepeats: 2\nretries: {attempts: 5}\n")
    result = await platolm("run", "specs/run.yaml", "--seed", "3", "--out", tmp_path / "out")
    assert result.code == 0, result.stderr
    spec = api.only_run.request.spec
    assert (spec.conversations, spec.repeats, spec.seed, spec.retries.attempts) == (4, 2, 3, 5)
    assert [seed.question for seed in api.only_run.request.seeds] == ["why?", "how?"]
    assert "used again" not in result.stderr


async def test_everything_wrong_with_a_spec_is_a_line(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    (tmp_path / "run.yaml").write_text("simulator:\n  sampling: {top_p: 3}\nendngs: {}\nname: '[bold]x'\n")
    result = await platolm("run", "run.yaml", "--out", tmp_path / "out")
    assert result.code == 2
    assert result.stderr.splitlines() == [
        "line 2: simulator.sampling.top_p: Input should be less than or equal to 1 (given: 3)",
        "line 3: endngs: there is no such field; did you mean endings?",
        "error: run.yaml: 2 problems in the spec",
    ]
    assert (api.submissions, (tmp_path / "out").exists()) == (0, False)


async def test_a_paused_run_is_followed_until_it_goes_on(api: FakeApi, start: StartCommand, tmp_path: Path) -> None:
    command = await start("run", "-n", "200", "--out", tmp_path / "out")
    await wait_until(lambda: api.segment_requests >= 2)
    api.only_run.pause = Pause(by=PausedBy.LIMIT, reason="100 conversations are dead")
    events = api.progress_events
    await wait_until(lambda: api.progress_events >= events + 3)
    api.only_run.pause = None
    result = await command.result()
    assert result.code == 0, result.stderr
    said = "the run is paused by the limit: 100 conversations are dead; `platolm runs resume run-1` has it go on"
    assert result.stderr.splitlines().count(said) == 1
    assert "the run goes on" in result.stderr
    assert_complete(tmp_path / "out", 200)


async def test_segments_of_parquet_come_home_as_sharegpt_too(platolm: RunCommand, tmp_path: Path) -> None:
    result = await platolm("run", "-n", "25", "--format", "parquet", "--out", tmp_path / "out")
    assert result.code == 0, result.stderr
    assert_complete(tmp_path / "out", 25)
    assert {path.suffix for path in (tmp_path / "out" / "segments").iterdir()} == {".parquet"}
    assert lines_of(tmp_path / "out")[7]["conversations"][0] == {"from": "human", "value": "7/0 é ✓"}


async def test_a_cancelled_run_brings_home_what_is_committed(
    api: FakeApi, start: StartCommand, platolm: RunCommand, tmp_path: Path
) -> None:
    arguments = ("run", "-n", "5000", "--out", tmp_path / "out")
    command = await start(*arguments)
    await wait_until(lambda: api.segment_requests >= 2)
    api.only_run.is_cancelled = True
    result = await command.result()
    committed = api.only_run.committed
    assert result.code == 1
    assert f"the run was cancelled: {committed} of 5,000 conversations are in its dataset" in result.stderr
    assert f"cancelled: {5000 - committed:,} conversations were given up" in result.stderr
    assert_complete(tmp_path / "out", committed)
    assert (await platolm(*arguments)).code == 1


async def test_dead_conversations_that_were_tried_again_are_fetched(
    api: FakeApi, platolm: RunCommand, tmp_path: Path
) -> None:
    arguments = ("run", "-n", "20", "--out", tmp_path / "out")
    api.dead_indices = frozenset({3, 7})
    assert (await platolm(*arguments)).code == 1
    assert (await platolm(*arguments)).code == 1
    assert (await platolm("runs", "retry-dead", "run-1")).code == 0
    result = await platolm(*arguments)
    assert result.code == 0, result.stderr
    assert_complete(tmp_path / "out", 20)
    await api.stop()
    assert (await platolm(*arguments)).code == 0


async def test_the_key_is_sent_and_never_printed(api: FakeApi, platolm: RunCommand, tmp_path: Path) -> None:
    api.api_key = "s3cret"
    refused = await platolm("run", "-n", "5", "--out", tmp_path / "out")
    assert refused.code == 1
    assert "a key is needed (HTTP 401); give it a key (PLATOLM_API_KEY)" in refused.stderr
    wrong = await platolm("run", "-n", "5", "--out", tmp_path / "out", "--api-key", "wr0ng")
    assert (wrong.code, "wr0ng" in wrong.stdout + wrong.stderr) == (1, False)
    right = await platolm("run", "-n", "5", "--out", tmp_path / "out", "--api-key", "s3cret")
    assert (right.code, "s3cret" in right.stdout + right.stderr) == (0, False)
    assert not any("s3cret" in path.read_text() for path in (tmp_path / "out").glob("*.json"))


async def test_the_key_comes_from_the_environment(
    api: FakeApi, platolm: RunCommand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    api.api_key = "s3cret"
    monkeypatch.setenv("PLATOLM_API_KEY", "s3cret")
    assert (await platolm("run", "-n", "5", "--out", tmp_path / "out")).code == 0
    assert "s3cret" not in (await platolm("run", "--help")).stdout


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
    assert "line 3: it has no question" in result.stderr
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
        (["--max-turns", "1"], "endings.max_turns: Input should be greater than or equal to 2 (given: 1)"),
        (["--seed", str(2**63)], "seed: Input should be less than"),
        (["nowhere.yaml"], "nowhere.yaml: it cannot be read"),
        (["--api-key", "a b"], "holds characters that no HTTP header carries"),
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


def test_the_resume_command_leaves_a_key_out() -> None:
    given = ["run", "--api-key", "s3cret", "-n", "5", "--api-key=s3cret"]
    assert resume_command(Path("x"), given) == "platolm run -n 5 --out x"


async def test_a_simulator_of_another_kind(platolm: RunCommand, tmp_path: Path) -> None:
    people = tmp_path / "people.jsonl"
    people.write_text('{"persona": "A cook.", "question": "Soup?"}\n', encoding="utf-8")
    options = ("run", "--show", "--json", "--simulator-profile", "usp", "--respondent-profile", "chat")
    shown = await platolm(*options, "--seeds", people, "--seed-mode", "intent")
    spec = json.loads(shown.stdout)
    assert (spec["simulator"]["profile"], spec["respondent"]["profile"]) == ("usp", "chat")
    assert spec["simulator"]["sampling"]["repetition_penalty"] == 1.2
    untold = await platolm(*options)
    assert (untold.code, "usp has to be told profile or persona: seed_mode free gives none" in untold.stderr) == (
        2,
        True,
    )
