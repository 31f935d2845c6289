"""`platolm eval`: what it prints, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from curation.evaluation.cli import EVAL_EPILOG, evaluate_command
from platolm.errors import InputError
from tests.fakes.chat_server import ChatServer, Refusal, last_message
from tests.local_stack import REPOSITORY
from tests.unit.curation.evaluation.question_files import (
    FASTCHAT_PROMPTS,
    MT_QUESTIONS,
    read_lines,
    write_lines,
)

ALONE = "import typer; from curation.evaluation.cli import evaluate_command; typer.run(evaluate_command)"


@pytest.fixture(autouse=True)
def _empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "100")
    for name in ("PLATOLM_EVAL_API_KEY", "PLATOLM_JUDGE_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def arguments(tmp_path: Path, respondent: ChatServer) -> list[str]:
    questions = write_lines(tmp_path / "question.jsonl", MT_QUESTIONS)
    return [respondent.url, "--suite", "mt-bench", "--questions", str(questions)]


@pytest.fixture
def judged(arguments: list[str], tmp_path: Path, judge: ChatServer) -> list[str]:
    prompts = write_lines(tmp_path / "judge_prompts.jsonl", FASTCHAT_PROMPTS)
    return [*arguments, "--judge", judge.url, "--judge-prompts", str(prompts)]


def evaluated(arguments: Sequence[str], **environment: str) -> Result:
    app = typer.Typer(rich_markup_mode="markdown")
    app.command("eval", epilog=EVAL_EPILOG)(evaluate_command)
    return CliRunner().invoke(app, list(arguments), env=environment)


def test_the_table_stands_beside_the_papers_figures(judged: list[str]) -> None:
    result = evaluated([*judged, "--judge-price", "2", "10"])
    assert result.exit_code == 0, result.output
    lines = [" ".join(line.replace("│", " ").split()) for line in result.stdout.splitlines()]
    assert "mt-bench · demo · rating, 1 to 10, 95 % interval" in lines
    assert "math 8.00 (8.00–8.00) 5.00 (5.00–5.00) 6.50 (6.50–6.50)" in lines
    assert any(line.startswith("all 8.00 (8.00–8.00) 5.00 (5.00–5.00) 6.71 (") for line in lines)
    assert "PlatoLM-7B (paper) 6.74 5.91 6.33" in lines
    assert "4 of 4 questions answered: runs/eval/mt_bench/model_answer/demo.jsonl" in lines
    unrated = "judgments without a score that can be read: 1, which count nowhere: question 151 turn 2"
    assert unrated in " ".join(result.stderr.split())
    assert "not comparable with published scores: over 4 questions" in result.stderr


def test_the_cost_is_that_of_the_tokens(judged: list[str]) -> None:
    first = json.loads(evaluated([*judged, "--price", "1", "1", "--judge-price", "2", "10", "--json"]).stdout)
    tokens = first["judge"]["tokens"]
    cost = (2 * tokens["now"]["prompt_tokens"] + 10 * tokens["now"]["completion_tokens"]) / 1e6
    assert tokens["cost"] == {"now": pytest.approx(cost), "in_all": pytest.approx(cost)}
    assert cost > 0
    again = json.loads(evaluated([*judged, "--judge-price", "2", "10", "--json"]).stdout)
    assert again["judge"]["tokens"]["cost"] == {"now": 0.0, "in_all": pytest.approx(cost)}
    assert again["respondent"]["tokens"]["cost"] is None


def test_json_is_what_the_folder_keeps(judged: list[str]) -> None:
    result = evaluated([*judged, "--json"])
    printed = json.loads(result.stdout)
    assert printed == json.loads(Path("runs/eval/mt_bench/scores/demo_gpt-4.json").read_text())
    assert printed["published"] == {
        "model": "PlatoLM-7B (paper)",
        "judge": "gpt-4",
        "overall": 6.33,
        "by_turn": {"1": 6.74, "2": 5.91},
    }
    assert printed["judge"]["scores"]["total"]["by_turn"]["1"]["mean"] == 8.0
    assert printed["judge"]["is_comparable"] is False


def test_without_a_judge_there_are_answers(arguments: list[str]) -> None:
    result = evaluated([*arguments, "--out", "here", "--model-id", "mine"])
    assert result.exit_code == 0
    assert "4 of 4 questions answered: here/model_answer/mine.jsonl" in result.stdout
    assert "rating" not in result.stdout


def test_our_own_prompts_are_said_plainly(arguments: list[str], judge: ChatServer) -> None:
    result = evaluated([*arguments, "--judge", judge.url])
    assert "not comparable with published scores: judged with this project's own prompts" in result.stderr


def test_a_question_that_failed_is_named_and_the_exit_code_says_so(
    arguments: list[str], respondent: ChatServer
) -> None:
    respondent.says = lambda body: Refusal(400, "too long") if "pond" in last_message(body) else "yes"
    result = evaluated(arguments)
    assert result.exit_code == 1
    said = " ".join(result.stderr.split())
    assert "questions without an answer: 1, the scores are without 81; the first: " in said
    assert "too long (HTTP 400)" in said


def test_many_failures_are_one_short_line(tmp_path: Path, respondent: ChatServer) -> None:
    many = [{"question_id": i, "category": "writing", "turns": ["Write."]} for i in range(1, 31)]
    questions = write_lines(tmp_path / "question.jsonl", many)
    respondent.says = lambda _body: Refusal(400, "max_tokens is too large")
    result = evaluated([respondent.url, "--suite", "vicuna-bench", "--questions", str(questions)])
    said = " ".join(result.stderr.split())
    assert result.exit_code == 1
    assert "without an answer: 30, the scores are without 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 20 more; the first" in said


def test_keys_from_the_environment(judged: list[str], respondent: ChatServer, judge: ChatServer) -> None:
    respondent.api_key, judge.api_key = "one", "two"
    result = evaluated(judged, PLATOLM_EVAL_API_KEY="one", PLATOLM_JUDGE_API_KEY="two")
    assert result.exit_code == 0, result.output
    assert b"two" not in b"".join(path.read_bytes() for path in Path("runs").rglob("*") if path.is_file())


def test_fields_of_the_judges_requests(judged: list[str], judge: ChatServer) -> None:
    evaluated([*judged, "--first", "1", "--judge-set", "temperature=null", "--judge-set", "reasoning_effort=low"])
    assert "temperature" not in judge.asked[0]
    assert judge.asked[0]["reasoning_effort"] == "low"


@pytest.mark.parametrize("wrong", [["--judge-set", "temperature"], ["--judge-id", "a/b"]])
def test_misuse(judged: list[str], wrong: list[str]) -> None:
    assert isinstance(evaluated([*judged, *wrong]).exception, InputError)


def test_options_of_a_judge_that_is_not_there(arguments: list[str], respondent: ChatServer) -> None:
    result = evaluated([*arguments, "--judge-model", "gpt-4"])
    assert str(result.exception) == "options of the judge need one: --judge ENDPOINT"
    assert respondent.asked == []


def test_help_teaches() -> None:
    text = " ".join(evaluated(["--help"]).stdout.split())
    assert all(said in text for said in ("Examples", "PLATOLM_JUDGE_API_KEY", "The same command goes on"))


@pytest.mark.parametrize(("side", "held_after"), [("respondent", 3), ("judge", 5)])
def test_sigkill_costs_what_is_in_flight(
    judged: list[str], respondent: ChatServer, judge: ChatServer, side: str, held_after: int
) -> None:
    server = {"respondent": respondent, "judge": judge}[side]
    command = [sys.executable, "-c", ALONE, *judged, "--concurrency", "2", "--judge-concurrency", "2"]
    server.hold_after(held_after)
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        assert server.wait_until_held(60)
        process.send_signal(signal.SIGKILL)
    server.go_on()
    kept = {path: path.read_bytes() for path in Path("runs").rglob("*.jsonl")}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr
    for path, content in kept.items():
        assert path.read_bytes().startswith(content), "what was written stays as it is"
    assert Counter(row["question_id"] for row in read_lines(Path("runs/eval/mt_bench/model_answer/demo.jsonl"))) == {
        question["question_id"]: 1 for question in MT_QUESTIONS
    }
    judgments = read_lines(Path("runs/eval/mt_bench/model_judgment/gpt-4_single.jsonl"))
    assert len({(row["question_id"], row["turn"]) for row in judgments}) == len(judgments) == 8
    num_repeated = len(server.asked) - 8
    assert 0 < num_repeated <= (4 if side == "respondent" else 2), "two questions of two turns, or two judgments"
