"""Seed files: what a line may be, and what is said about lines that are none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from platolm.errors import SeedError
from platolm.seeds import OPENINGS_FILE, read_seeds
from platolm.spec import Seed, SeedMode


def seed_file(folder: Path, *lines: Any) -> Path:
    path = folder / "seeds.jsonl"
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def sharegpt(*turns: tuple[str, str]) -> dict[str, Any]:
    return {"conversations": [{"from": role, "value": value} for role, value in turns]}


@pytest.mark.parametrize(
    ("record", "question"),
    [
        ({"question": "why?"}, "why?"),
        ({"prompt": "why?"}, "why?"),
        ({"instruction": "Add."}, "Add."),
        ({"instruction": "Add.", "input": "1, 2"}, "Add.\n\n1, 2"),
        ({"instruction": "Add.", "input": "  "}, "Add."),
        ({"question": "why?", "prompt": "other"}, "why?"),
        (sharegpt(("human", "why?"), ("gpt", "so")), "why?"),
        (sharegpt(("system", "be kind"), ("human", "why?")), "why?"),
        ({"messages": [{"role": "user", "content": "why?"}]}, "why?"),
        ({"question": " keeps its spaces \n"}, " keeps its spaces \n"),
    ],
)
def test_where_a_question_stands(tmp_path: Path, record: Any, question: str) -> None:
    assert read_seeds(seed_file(tmp_path, record), SeedMode.QUESTION).seeds == [Seed(question=question, line=1)]


@pytest.mark.parametrize(
    "record",
    [
        {"question": "why?", "answer": "so"},
        {"instruction": "why?", "output": "so"},
        {"prompt": "why?", "response": "so"},
        sharegpt(("human", "why?"), ("gpt", "so"), ("human", "and?")),
    ],
)
def test_where_an_answer_stands(tmp_path: Path, record: Any) -> None:
    seeds = read_seeds(seed_file(tmp_path, record), SeedMode.EXCHANGE).seeds
    assert seeds == [Seed(question="why?", answer="so", line=1)]


@pytest.mark.parametrize(
    ("record", "seed"),
    [
        ({"intent": "You want a cake."}, Seed(intent="You want a cake.", line=1)),
        ({"persona": "You are shy."}, Seed(persona="You are shy.", line=1)),
        (
            {"intent": "a", "persona": "b", "question": "c", "goal": "d", "profile": "e", "prompt": "f"},
            Seed(question="c", intent="a", persona="b", goal="d", profile="e", line=1),
        ),
        ({"intent": "a", "persona": " "}, Seed(intent="a", line=1)),
        ({"intent": None, "persona": "b"}, Seed(persona="b", line=1)),
    ],
)
def test_what_a_simulator_is_told_of_its_user(tmp_path: Path, record: Any, seed: Seed) -> None:
    assert read_seeds(seed_file(tmp_path, record), SeedMode.INTENT).seeds == [seed]


def test_question_mode_leaves_the_answer_out(tmp_path: Path) -> None:
    path = seed_file(tmp_path, {"question": "why?", "answer": "so"})
    assert read_seeds(path, SeedMode.QUESTION).seeds[0].answer is None


@pytest.mark.parametrize(
    ("record", "mode", "said"),
    [
        ("{broken", "question", "not JSON"),
        ([1], "question", "a JSON object, not list"),
        ({"text": "why?"}, "question", "none of question, instruction, prompt"),
        ({"question": ""}, "question", "it has no question"),
        ({"question": " \n"}, "question", "it has no question"),
        ({"question": None}, "question", "'question' is not a string"),
        ({"question": ["why?"]}, "question", "'question' is not a string"),
        ('{"question": "\\ud83d"}', "question", "not Unicode"),
        ({"question": "why?"}, "exchange", "no answer"),
        ({"question": "why?", "answer": " "}, "exchange", "no answer"),
        ({"question": "why?", "answer": 3}, "exchange", "'answer' is not a string"),
        (sharegpt(), "question", "conversation is empty"),
        (sharegpt(("gpt", "hello"), ("human", "hi")), "question", "begins with assistant"),
        (sharegpt(("human", "why?"), ("human", "and?")), "exchange", "no answer"),
        ({"conversations": [{"from": "human"}]}, "question", "turn 0 needs a string"),
        ({"question": "why?"}, "intent", "no intent, goal, persona or profile"),
        ({"intent": " ", "persona": ""}, "intent", "no intent, goal, persona or profile"),
        ({"intent": 3}, "intent", "'intent' is not a string"),
        ([1], "intent", "a JSON object, not list"),
    ],
)
def test_an_unusable_line_is_named_with_its_number(tmp_path: Path, record: Any, mode: str, said: str) -> None:
    good = {"question": "a", "answer": "b", "intent": "c"}
    path = seed_file(tmp_path, good, record, good)
    with pytest.raises(SeedError) as caught:
        read_seeds(path, SeedMode(mode))
    (bad,) = caught.value.bad_lines
    assert bad.number == 2
    assert said in bad.reason
    kept = read_seeds(path, SeedMode(mode), skip_bad=True)
    assert [seed.line for seed in kept.seeds] == [1, 3]
    assert kept.bad_lines == [bad]


def test_no_usable_seed_is_an_error_even_when_bad_lines_are_skipped(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="no usable seed"):
        read_seeds(seed_file(tmp_path, "{broken"), SeedMode.QUESTION, skip_bad=True)
    with pytest.raises(SeedError, match="no usable seed"):
        read_seeds(seed_file(tmp_path), SeedMode.QUESTION)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SeedError, match="no such file"):
        read_seeds(tmp_path / "nowhere.jsonl", SeedMode.QUESTION)


def test_the_openings_that_come_with_the_project() -> None:
    seeds = read_seeds(OPENINGS_FILE, SeedMode.QUESTION).seeds
    assert len(seeds) == 100
    assert len({seed.question for seed in seeds}) == 100
