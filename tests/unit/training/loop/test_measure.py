"""Before and after on the same ids: the figures are the scoring's, and a model is not better than itself."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from platolm.conversation import ASSISTANT, USER, Conversation, Message
from platolm.errors import InputError
from tests.unit.training.conftest import ANSWERS, QUESTIONS
from training.bootstrap import Interval
from training.loop.measure import SideLoss, measure_side, read_test
from training.loop.recipe import DEMO_LOOP, Test
from training.recipes.recipe import Recipe

DIALOGUES = [
    Conversation(str(i), (Message(USER, QUESTIONS[i % 4]), Message(ASSISTANT, ANSWERS[i % 4]))) for i in range(6)
]


def recipe_on(base: Path, side: str = "socratic", **data: object) -> Recipe:
    recipe: Recipe = getattr(DEMO_LOOP, side)
    changes = {"model": recipe.model.model_copy(update={"path": str(base)})}
    limits = {"max_length": 256, "turn_limits": {}, **data}
    return recipe.model_copy(update={**changes, "data": recipe.data.model_copy(update=limits)})


def test_a_model_is_not_better_than_itself(models: Path) -> None:
    loss = measure_side(recipe_on(models / "one"), models / "one", DIALOGUES, lambda _: None)
    assert loss.before == loss.after
    assert loss.difference == Interval(0.0, 0.0, 0.0)
    assert loss.verdict == "no difference that the interval would show"
    assert loss.before == pytest.approx(math.log(320), abs=0.3), "random weights say nothing"


@pytest.mark.parametrize(("side", "role"), [("socratic", "user"), ("platolm", "assistant")])
def test_two_models_on_the_sides_own_turns(models: Path, side: str, role: str) -> None:
    said: list[str] = []
    there = measure_side(recipe_on(models / "one", side), models / "two", DIALOGUES, said.append)
    back = measure_side(recipe_on(models / "two", side), models / "one", DIALOGUES, said.append)
    assert (there.side, there.role, there.num_dialogues) == (side, role, 6)
    assert (there.before, there.after) == (back.after, back.before)
    assert there.difference.mean == pytest.approx(there.after - there.before)
    assert there.difference.low < there.difference.mean < there.difference.high
    assert said[0] == f"{models / 'one'} on the {role} turns of 6 dialogues"


def test_a_dialogue_counts_up_to_its_first_turn_over_the_limit(models: Path) -> None:
    whole = measure_side(recipe_on(models / "one", "platolm"), models / "two", DIALOGUES, lambda _: None)
    long = Conversation("long", (*DIALOGUES[0].messages, Message(USER, "x" * 99), Message(ASSISTANT, "Yes.")))
    recipe = recipe_on(models / "one", "platolm", turn_limits={"user": 50})
    assert measure_side(recipe, models / "two", [long, *DIALOGUES[1:]], lambda _: None) == whole
    with pytest.raises(InputError, match="no held-out dialogue has a turn"):
        measure_side(recipe_on(models / "one", turn_limits={"user": 1}), models / "two", DIALOGUES, lambda _: None)


def test_as_many_as_were_asked_for_and_the_same_each_time(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    turns = [{"from": "human", "value": "Why?"}]
    path.write_text("".join(json.dumps({"id": str(i), "conversations": turns}) + "\n" for i in range(50)))
    chosen = [conversation.id for conversation in read_test(path, Test(max_dialogues=10))]
    assert len(set(chosen)) == 10
    assert chosen == [conversation.id for conversation in read_test(path, Test(max_dialogues=10))]
    assert chosen != [conversation.id for conversation in read_test(path, Test(max_dialogues=10, seed=1))]
    assert len(read_test(path, Test(max_dialogues=50))) == 50


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.2, -0.1, "better than before"), (0.1, 0.2, "worse than before"), (-0.1, 0.1, "no difference")],
)
def test_the_verdict_is_the_intervals(low: float, high: float, verdict: str) -> None:
    loss = SideLoss("socratic", "user", "base", 1, 1, 1.0, 1.0, Interval((low + high) / 2, low, high))
    assert loss.verdict.startswith(verdict)
