"""What a judge is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from curation.evaluation.judging import single_tasks
from curation.evaluation.pairwise import comes_first, pair_tasks
from curation.evaluation.plan import judge_prompts
from curation.evaluation.prompts import (
    own_pair_prompts,
    own_single_prompts,
    read_pair_prompt,
    read_single_prompts,
    user_text,
)
from curation.evaluation.suites.alpaca_eval import ALPACA_EVAL
from curation.evaluation.suites.mt_bench import MT_BENCH
from curation.evaluation.suites.suite import Question
from platolm.errors import InputError
from tests.unit.curation.evaluation.question_files import FASTCHAT_PROMPTS, MT_QUESTIONS, write_lines

CHATML = """<|im_start|>system
You rank.
<|im_end|>
<|im_start|>user
{"instruction": "{instruction}", "1": "{output_1}", "2": "{output_2}"}
<|im_end|>
"""
ANSWERS = {
    question["question_id"]: {
        "question_id": question["question_id"],
        "choices": [{"index": 0, "turns": ["first {answer}", "second"]}],
    }
    for question in MT_QUESTIONS
}


@pytest.fixture
def questions(tmp_path: Path) -> list[Question]:
    return MT_BENCH.read_questions(write_lines(tmp_path / "question.jsonl", MT_QUESTIONS))


def test_fastchats_prompts_are_filled_as_fastchat_fills_them(tmp_path: Path, questions: list[Question]) -> None:
    """References for math, reasoning and coding alone, and there only where the question has them."""
    prompts = read_single_prompts(write_lines(tmp_path / "judge_prompts.jsonl", FASTCHAT_PROMPTS))
    assert not prompts.is_own
    tasks = single_tasks(MT_BENCH, questions, ANSWERS, prompts)
    assert [(task.question.id, task.turn, task.prompt_name, user_text(task.messages)) for task in tasks] == [
        (81, 1, "single-v1", "Q Write of a pond. A first {answer}"),
        (81, 2, "single-v1-multi-turn", "Q Write of a pond. A first {answer} Q Now in one line. A second"),
        (111, 1, "single-math-v1", "Q What is 2 + 3? R 5 A first {answer}"),
        (
            111,
            2,
            "single-math-v1-multi-turn",
            "Q What is 2 + 3? R 5 Q And twice that? R 10 A first {answer} A second",
        ),
        (112, 1, "single-v1", "Q What is 9 - 4? A first {answer}"),
        (112, 2, "single-v1-multi-turn", "Q What is 9 - 4? A first {answer} Q Why {question}? A second"),
        (151, 1, "single-v1", "Q Who was Ada? A first {answer}"),
        (151, 2, "single-v1-multi-turn", "Q Who was Ada? A first {answer} Q Where did she live? A second"),
    ]
    assert [message["role"] for message in tasks[0].messages] == ["system", "user"]
    assert tasks[0].messages[0]["content"] == "judge by single-v1"


def test_our_own_hold_everything_that_is_to_be_judged(questions: list[Question]) -> None:
    prompts = own_single_prompts()
    assert prompts.is_own
    tasks = {task.key: user_text(task.messages) for task in single_tasks(MT_BENCH, questions, ANSWERS, prompts)}
    assert all(said in tasks[81, 1] for said in ("Write of a pond.", "first {answer}", "[[4]]"))
    assert "second" not in tasks[81, 1].split("=== end ===")[0]
    assert all(said in tasks[111, 2] for said in ("=== correct solution 2 ===\n10\n", "And twice that?", "second"))
    assert "correct solution" not in tasks[112, 2]
    assert not any("{question_" in text or "{ref_" in text for text in tasks.values())


def test_a_question_without_an_answer_is_not_judged(questions: list[Question]) -> None:
    tasks = single_tasks(MT_BENCH, questions, {81: ANSWERS[81]}, own_single_prompts())
    assert [task.key for task in tasks] == [(81, 1), (81, 2)]


def test_a_file_that_lacks_a_prompt(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "judge_prompts.jsonl", FASTCHAT_PROMPTS[:-1])
    with pytest.raises(InputError, match="no prompt single-math-v1-multi-turn"):
        read_single_prompts(path)


def test_a_prompt_that_asks_for_another_form(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "judge_prompts.jsonl", [{**FASTCHAT_PROMPTS[0], "output_format": "[[A]]"}])
    with pytest.raises(InputError, match="asks for"):
        read_single_prompts(path)


def test_alpaca_evals_prompt_in_chatml(tmp_path: Path) -> None:
    """Its braces are JSON's too: only the three fields are replaced, and what is put in is not looked at again."""
    path = tmp_path / "alpaca_eval.txt"
    path.write_text(CHATML)
    question = Question(1, "koala", ("Say {output_2}.",), ("reference",))
    (task,) = pair_tasks([question], {1: {"choices": [{"turns": ["model"]}]}}, read_pair_prompt(path))
    first, second = ("model", "reference") if comes_first(question) else ("reference", "model")
    assert list(task.messages) == [
        {"role": "system", "content": "You rank."},
        {"role": "user", "content": f'{{"instruction": "Say {{output_2}}.", "1": "{first}", "2": "{second}"}}'},
    ]


def test_the_prompt_of_an_installed_package_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The package is not imported: this one would say so."""
    folder = tmp_path / "alpaca_eval" / "evaluators_configs" / "alpaca_eval_gpt4"
    folder.mkdir(parents=True)
    (folder / "alpaca_eval.txt").write_text(CHATML)
    (tmp_path / "alpaca_eval" / "__init__.py").write_text("raise AssertionError")
    monkeypatch.syspath_prepend(str(tmp_path))
    prompts = judge_prompts(ALPACA_EVAL, None)
    assert (prompts.is_own, prompts.source) == (False, str(folder / "alpaca_eval.txt"))
    (folder / "alpaca_eval.txt").unlink()
    assert judge_prompts(ALPACA_EVAL, None).is_own


def test_a_text_that_is_no_prompt_for_two(tmp_path: Path) -> None:
    path = tmp_path / "prompt.txt"
    path.write_text("Which is better? {output_1} {output_2}")
    with pytest.raises(InputError, match=r"no \{instruction\}"):
        read_pair_prompt(path)


def test_the_order_of_two_answers_is_fixed_mixed_and_undone_in_the_score() -> None:
    questions = [Question(number, "koala", (f"Instruction {number}",), ("reference",)) for number in range(400)]
    firsts = [comes_first(question) for question in questions]
    assert 160 < sum(firsts) < 240
    answers = {question.id: {"choices": [{"turns": ["model"]}]} for question in questions}
    for task, model_first in zip(pair_tasks(questions, answers, own_pair_prompts()), firsts, strict=True):
        assert task.noted == {"model_first": model_first}
        assert task.read("[[A]]") == (1.0 if model_first else 0.0)
        assert task.read("[[C]]") == 0.5
        assert task.read("both") is None
    assert ALPACA_EVAL.scale == 100.0
