"""Loops: what fits together, how they are named and changed, and the run that they ask for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from platolm.cli.app import app
from platolm.errors import InputError
from platolm.spec import Seed, SeedMode
from training.loop.recipe import DEMO_LOOP, LOOPS, LoopRecipe, Synthesis, loop_of
from training.recipes.overrides import with_overrides
from training.sources import HELD_OUT_SHARE


def test_the_demo_loop() -> None:
    assert LOOPS["demo"] is DEMO_LOOP
    assert (DEMO_LOOP.socratic.side, DEMO_LOOP.platolm.side) == ("socratic", "platolm")
    assert DEMO_LOOP.socratic.schedule.max_steps is not None
    assert DEMO_LOOP.test.share <= HELD_OUT_SHARE, "the base has not seen the test set"


SHAPE = {"vocab_size": 8, "hidden_size": 8, "intermediate_size": 8, "num_layers": 1, "num_heads": 1, "context": 8}


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [
        ("socratic.side", "platolm", "socratic.side must be socratic, not platolm"),
        ("platolm.model.shape", SHAPE, r"platolm\.model\.shape: the loop fine-tunes a base"),
        ("test.share", 0.09, r"held_out_share must be above test\.share"),
        ("test.share", 0.0, "greater than 0"),
        ("nothing", 1, "Extra inputs"),
    ],
)
def test_what_does_not_fit_is_refused(key: str, value: Any, problem: str) -> None:
    tree = group = DEMO_LOOP.model_dump(mode="json")
    *groups, last = key.split(".")
    for name in groups:
        group = group[name]
    group[last] = value
    with pytest.raises(ValidationError, match=problem):
        LoopRecipe.model_validate(tree)


def test_changes_reach_every_group() -> None:
    loop = with_overrides(
        DEMO_LOOP,
        [
            "synthesis.conversations=7",
            "synthesis.max_turns=null",
            "socratic.schedule.max_steps=5",
            "platolm.optimizer.learning_rate=1e-5",
            "test.share=0.02",
            "serve_while_training=false",
            'data=["a", "b"]',
        ],
    )
    assert (loop.synthesis.conversations, loop.synthesis.max_turns) == (7, None)
    assert (loop.socratic.schedule.max_steps, loop.platolm.optimizer.learning_rate) == (5, 1e-5)
    assert loop.platolm.schedule == DEMO_LOOP.platolm.schedule
    assert (loop.test.share, loop.serve_while_training, loop.data) == (0.02, False, ("a", "b"))


@pytest.mark.parametrize(
    ("assignment", "problem"),
    [
        ("synthesis.conversations", "lacks a value"),
        ("synthesis.temprature=1", "there is no synthesis.temprature"),
        ("nothing.at.all=1", "there is no nothing.at.all"),
        ("name.first=1", "there is no name.first"),
        ("socratic.schedule.max_stps=1", "max_stps"),
        ("synthesis.temperature=hot", "synthesis.temperature: "),
        ("data=[", "data=.: broken JSON"),
    ],
)
def test_changes_that_cannot_be_made(assignment: str, problem: str) -> None:
    with pytest.raises(InputError, match=problem):
        with_overrides(DEMO_LOOP, [assignment])


def test_a_loop_comes_back_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.json"
    mine = with_overrides(DEMO_LOOP, ["name=mine"])
    path.write_text(mine.model_dump_json(), encoding="utf-8")
    assert loop_of(str(path)) == mine
    assert loop_of("demo") is DEMO_LOOP


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("dmo", None, "there is no loop dmo"),
        ("none.yaml", None, "cannot be read"),
        ("bad.yaml", "a: [", "neither JSON nor YAML"),
        ("other.json", "{}", "holds no loop: name"),
    ],
)
def test_no_such_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, content: str | None, problem: str
) -> None:
    monkeypatch.chdir(tmp_path)
    if content is not None:
        (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=problem):
        loop_of(name)


def test_the_run_that_is_asked_for() -> None:
    synthesis = Synthesis(conversations=9, max_turns=4, max_tokens=20, context_tokens=300, temperature=0.5, seed=3)
    questions = [Seed(question="Why?", line=1)]
    free = synthesis.request(questions)
    assert (free.spec.seed_mode, free.seeds) == (SeedMode.FREE, [])
    assert (free.spec.conversations, free.spec.seed, free.spec.endings.max_turns) == (9, 3, 4)
    assert free.spec.endings.context_tokens == 300
    for side in (free.spec.simulator, free.spec.respondent):
        assert (side.sampling.max_tokens, side.sampling.temperature) == (20, 0.5)
    seeded = synthesis.model_copy(update={"seeds": "questions"}).request(questions)
    assert (seeded.spec.seed_mode, seeded.seeds) == (SeedMode.QUESTION, questions)


def test_the_same_run_as_a_command(tmp_path: Path) -> None:
    """`platolm run` asks for the very run that the loop does."""
    questions = tmp_path / "questions.jsonl"
    questions.write_text('{"question": "Why?"}\n')
    for seeds in ("free", "questions"):
        for max_turns in (None, 4):
            values = {"conversations": 9, "max_turns": max_turns, "max_tokens": 20, "seed": 3, "seeds": seeds}
            synthesis = Synthesis.model_validate(values)
            result = CliRunner().invoke(app, ["run", *synthesis.arguments(questions), "--show", "--json"])
            spec = synthesis.request([Seed(question="Why?")]).spec
            shown = json.loads(result.stdout)
            del shown["seeds"]
            assert shown == spec.model_dump(mode="json")
