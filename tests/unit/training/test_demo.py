"""The whole pipeline at toy size: stages, resuming, measuring, cards; and its command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from platolm.conversation import ASSISTANT, USER, Conversation, Message
from platolm.errors import InputError
from platolm.tokenizer import load_tokenizer
from tests.unit.training.conftest import ANSWERS, QUESTIONS, TINY_SHAPE
from training import demo, evaluate, simulate
from training.demo import Pipeline, publish, shortened
from training.export import read_record
from training.recipes import DEMO_BASE, DEMO_PLATOLM, DEMO_SOCRATIC
from training.recipes.recipe import Recipe
from training.sources import Dialogues, Split

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]


def invented_dialogues() -> Dialogues:
    dialogues = Dialogues()
    for split, num in ((Split.TRAIN, 40), (Split.VALIDATION, 4), (Split.HELD_OUT, 6)):
        for i in range(num):
            messages = (Message(USER, f"{QUESTIONS[i % 4]} {i}"), Message(ASSISTANT, ANSWERS[i % 4]))
            dialogues.by_split[split].append(Conversation(f"{split}-{i}", messages))
    dialogues.used["hh_helpful_dialogues.jsonl.gz"] = 50
    return dialogues


def toy(recipe: Recipe) -> Recipe:
    model = recipe.model.model_copy(update={"shape": TINY_SHAPE if recipe.model.shape else None})
    data = recipe.data.model_copy(update={"max_length": TINY_SHAPE.context, "arrangements": 1, "held_out_share": 0.2})
    memory = recipe.memory.model_copy(update={"compile": False, "bf16": False})
    return shortened(recipe, 3).model_copy(update={"model": model, "data": data, "memory": memory})


def test_the_stages_make_models_with_cards_and_a_second_run_reuses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    dialogues, said = invented_dialogues(), list[str]()
    pipeline = Pipeline(dialogues, TINY_SHAPE, tmp_path / "work", said.append)

    def run() -> dict[str, Path]:
        base = pipeline.model(toy(DEMO_BASE), pipeline.tokenizer())
        sides = {recipe.side.value: pipeline.model(toy(recipe), base) for recipe in (DEMO_SOCRATIC, DEMO_PLATOLM)}
        return {"base": base, **sides}

    models = run()
    weights = {name: (folder / "model.safetensors").read_bytes() for name, folder in models.items()}
    assert len(set(weights.values())) == 3
    assert run() == models
    assert sum("finished earlier" in line for line in said) == 3
    with pytest.raises(InputError, match="other settings"):
        pipeline.model(shortened(toy(DEMO_SOCRATIC), 2), models["base"])

    out = tmp_path / "out"
    publish(models, dialogues, TINY_SHAPE, out, said.append)
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "base", "evaluation.json", "platolm", "socratic",
    ]  # fmt: skip
    assert load_tokenizer(out / "platolm").encode("tea") == load_tokenizer(out / "socratic").encode("tea")
    record = read_record(out / "socratic")
    assert record["recipe"]["name"] == "demo_socratic"
    assert record["result"]["labels"] < record["result"]["tokens"]
    assert set(record["result"]["held_out_loss_by_share"]) == {"0.25", "0.4", "0.55", "0.7", "0.85", "1.0"}
    card = (out / "socratic" / "README.md").read_text(encoding="utf-8")
    assert "user turns only" in card
    assert "Copyright (c) 2022 Anthropic" in card
    measures = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert [column["owner"] for column in measures["columns"]] == ["socratic", "platolm"]
    assert set(measures["columns"][0]["ahead"]) == {"platolm", "base", "5-gram"}


def test_held_out_dialogues_are_not_among_what_the_recipes_read(tmp_path: Path) -> None:
    dialogues = invented_dialogues()
    path = Pipeline(dialogues, TINY_SHAPE, tmp_path, lambda _: None).data()
    ids = {json.loads(line)["id"] for line in path.read_text(encoding="utf-8").splitlines()}
    assert ids == {c.id for split in (Split.TRAIN, Split.VALIDATION) for c in dialogues.by_split[split]}


@pytest.mark.parametrize("command", [demo.main, evaluate.main, simulate.main])
def test_help_teaches(command: object) -> None:
    app = Typer()
    app.command()(command)  # type: ignore[type-var]
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert "python -m training." in result.output


def test_missing_data_is_one_line_and_exit_code_2(tmp_path: Path) -> None:
    app = Typer()
    app.command()(demo.main)
    result = CliRunner().invoke(app, ["--data", str(tmp_path), "--work", str(tmp_path / "work")])
    assert result.exit_code == 2
    assert "is missing: give the folder" in " ".join(result.output.split())
