"""`platolm eval` with the demo respondent over real vLLM, and a scripted judge."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.chat_server import Body, ChatServer, last_message
from tests.local_stack import REPOSITORY, RunningStack, platolm
from tests.unit.curation.evaluation.question_files import MT_QUESTIONS, read_lines, write_lines

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

REAL_QUESTIONS = REPOSITORY.parent / "shared" / "data" / "mt_bench_questions.jsonl"


def rate(body: Body) -> str:
    """Second turns get less, as they do."""
    return f"Hardly.\n[[{2 if 'question 2' in last_message(body) else 3}]]"


def evaluate(stack: RunningStack, judge: ChatServer, questions: Path, folder: Path) -> dict[str, object]:
    """The demo respondent's result; run again it must ask nothing and say the same."""
    respondent = f"{stack.url('respondent_port')}/v1"
    command = ["eval", respondent, "--suite", "mt-bench", "--questions", str(questions), "--max-tokens", "96"]
    command += ["--out", "bench", "--judge", judge.url, "--json"]
    done = platolm(*command, cwd=folder, timeout_s=500)
    assert done.returncode == 0, done.stderr
    num_asked = len(judge.asked)
    again = platolm(*command, cwd=folder)
    assert again.returncode == 0, again.stderr
    assert len(judge.asked) == num_asked
    first, second = json.loads(done.stdout), json.loads(again.stdout)
    assert second["judge"]["scores"] == first["judge"]["scores"]
    assert second["respondent"]["tokens"]["now"] == {"prompt_tokens": 0, "completion_tokens": 0}
    assert isinstance(first, dict)
    return first


@pytest.mark.parametrize("questions", ["real", "small"])
def test_mt_bench_of_the_demo_respondent(stack: RunningStack, tmp_path: Path, questions: str) -> None:
    if questions == "real" and not REAL_QUESTIONS.exists():
        pytest.skip(f"{REAL_QUESTIONS.name}: the suite's questions are not on this machine")
    path = REAL_QUESTIONS if questions == "real" else write_lines(tmp_path / "question.jsonl", MT_QUESTIONS)
    asked = read_lines(path)
    with ChatServer(("scripted",), says=rate).running() as judge:
        result = evaluate(stack, judge, path, tmp_path)
    assert result["num_answered"] == len(asked)
    answers = read_lines(tmp_path / "bench" / "model_answer" / "platolm.jsonl")
    assert {row["question_id"] for row in answers} == {question["question_id"] for question in asked}
    assert all(len(row["choices"][0]["turns"]) == 2 and any(row["choices"][0]["turns"]) for row in answers)
    assert all(row["usage"]["prompt_tokens"] > 0 and row["usage"]["completion_tokens"] > 1 for row in answers)
    judged = result["judge"]
    assert isinstance(judged, dict)
    total = judged["scores"]["total"]
    assert (total["by_turn"]["1"]["mean"], total["by_turn"]["2"]["mean"], total["overall"]["mean"]) == (3.0, 2.0, 2.5)
    assert {one["category"] for one in judged["scores"]["categories"]} == {one["category"] for one in asked}
    assert judged["reservations"][0].startswith("judged with this project's own prompts")
