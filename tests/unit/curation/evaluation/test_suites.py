"""Reading the suites' files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curation.evaluation.options import SuiteName
from curation.evaluation.suites import SUITES
from curation.evaluation.suites.alpaca_eval import ALPACA_EVAL, generator_of, read_outputs
from curation.evaluation.suites.fastchat import read_questions, read_references, with_references
from curation.evaluation.suites.mt_bench import MT_BENCH
from curation.evaluation.suites.suite import Question
from platolm.errors import BadLinesError, InputError
from tests.unit.curation.evaluation.question_files import ALPACA_QUESTIONS, MT_QUESTIONS, write_lines

SHARED_DATA = Path(__file__).resolve().parents[5] / "shared" / "data"


def test_the_names_of_the_option_are_the_suites() -> None:
    assert {name.value for name in SuiteName} == set(SUITES)


def test_the_papers_figures() -> None:
    assert MT_BENCH.published is not None
    assert (MT_BENCH.published.overall, MT_BENCH.published.by_turn) == (6.33, {1: 6.74, 2: 5.91})
    assert ALPACA_EVAL.published is not None
    assert ALPACA_EVAL.published.overall == 81.94
    assert SUITES["vicuna-bench"].published is None


def test_questions_in_fastchats_form(tmp_path: Path) -> None:
    questions = read_questions(write_lines(tmp_path / "question.jsonl", MT_QUESTIONS))
    assert [question.id for question in questions] == [81, 111, 112, 151]
    assert questions[1] == Question(111, "math", ("What is 2 + 3?", "And twice that?"), ("5", "10"), MT_QUESTIONS[1])


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        ({"category": "math", "turns": ["a"]}, "question_id"),
        ({"question_id": 1, "turns": []}, "turns"),
        ({"question_id": 1, "turns": ["a", 2]}, "turns"),
        ({"question_id": 1, "turns": "a"}, "turns"),
        ({"question_id": 1, "turns": ["a", "b", "c"]}, "turns"),
        ({"question_id": 81, "turns": ["a"]}, "twice"),
    ],
)
def test_a_bad_question_is_named_by_its_line(tmp_path: Path, record: dict[str, Any], reason: str) -> None:
    path = write_lines(tmp_path / "question.jsonl", [MT_QUESTIONS[0], record])
    with pytest.raises(BadLinesError) as caught:
        read_questions(path)
    assert [bad.number for bad in caught.value.bad_lines] == [2]
    assert reason in caught.value.bad_lines[0].reason


def test_an_empty_file_is_no_suite(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no question"):
        read_questions(write_lines(tmp_path / "question.jsonl", []))


@pytest.mark.parametrize(
    ("category", "record", "temperature"),
    [
        ("writing", {}, 0.7),
        ("math", {}, 0.0),
        ("stem", {}, 0.1),
        ("other", {}, 0.7),
        ("math", {"required_temperature": 0.3}, 0.3),
    ],
)
def test_temperatures(category: str, record: dict[str, Any], temperature: float) -> None:
    assert MT_BENCH.temperature(Question(1, category, ("a",), (), record)) == temperature


def test_references_of_another_file_are_the_only_ones(tmp_path: Path) -> None:
    rows = [
        {"question_id": 111, "model_id": "gpt-4", "choices": [{"index": 0, "turns": ["It is 5.", "It is 10."]}]},
        {"question_id": 9, "choices": [{"index": 0, "turns": ["It is 5.", "Because."]}]},
    ]
    questions = read_questions(write_lines(tmp_path / "question.jsonl", MT_QUESTIONS))
    answers = read_references(write_lines(tmp_path / "gpt-4.jsonl", rows))
    found = {question.id: question.references for question in with_references(questions, answers)}
    assert found == {81: (), 111: ("It is 5.", "It is 10."), 112: (), 151: ()}


def test_a_file_that_holds_no_answers(tmp_path: Path) -> None:
    with pytest.raises(BadLinesError, match="no reference answers"):
        read_references(write_lines(tmp_path / "gpt-4.jsonl", MT_QUESTIONS))


def test_instructions(tmp_path: Path) -> None:
    path = tmp_path / "alpaca_eval.json"
    path.write_text(json.dumps([*ALPACA_QUESTIONS[:1], {"instruction": "Add.", "input": "2 3"}]))
    first, second = ALPACA_EVAL.read_questions(path)
    assert (first.id, first.category, first.turns, first.references) == (
        1,
        "koala",
        ("Say something of tea.",),
        ("tea is fine.",),
    )
    assert generator_of(first) == "davinci"
    assert (second.id, second.turns, second.references) == (2, ("Add.\n\n2 3",), ())


def test_outputs_of_another_file_are_found_by_instruction(tmp_path: Path) -> None:
    questions = ALPACA_EVAL.read_questions(write_lines(tmp_path / "questions.jsonl", ALPACA_QUESTIONS[:2]))
    others = [{"instruction": "Say something of rain.", "output": "Rain is wet.", "generator": "other"}]
    tea, rain = read_outputs(write_lines(tmp_path / "other.jsonl", others), questions)
    assert tea.references == ()
    assert (rain.references, generator_of(rain)) == (("Rain is wet.",), "other")


@pytest.mark.parametrize(("name", "num_turns"), [("mt_bench", 2), ("vicuna_bench", 1)])
def test_the_real_questions(name: str, num_turns: int) -> None:
    path = SHARED_DATA / f"{name}_questions.jsonl"
    if not path.exists():
        pytest.skip(f"{path.name}: the suite's questions are not on this machine")
    questions = read_questions(path)
    assert {len(question.turns) for question in questions} == {num_turns}
    assert len({question.id for question in questions}) == len(questions) > 40
