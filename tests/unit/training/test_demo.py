"""The whole pipeline at toy size: stages, resuming, measuring, cards; and its command line."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer import Typer
from typer.testing import CliRunner

from platolm.conversation import ASSISTANT, USER, Conversation, Message
from platolm.tokenizer import load_tokenizer
from tests.unit.training.conftest import ANSWERS, QUESTIONS, TINY_SHAPE
from training import demo, evaluate, simulate
from training.checkpoints import put_in_place, read_record
from training.demo import Pipeline, publish
from training.recipes import DEMO_BASE, DEMO_PLATOLM, DEMO_SOCRATIC
from training.sources import Dialogues, Split

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def invented_dialogues() -> Dialogues:
    dialogues = Dialogues()
    for split, num in ((Split.TRAIN, 40), (Split.VALIDATION, 4), (Split.HELD_OUT, 6)):
        for i in range(num):
            messages = (Message(USER, f"{QUESTIONS[i % 4]} {i}"), Message(ASSISTANT, ANSWERS[i % 4]))
            dialogues.by_split[split].append(Conversation(f"{split}-{i}", messages))
    dialogues.used["hh_helpful_dialogues.jsonl.gz"] = 50
    return dialogues


def test_the_stages_make_models_with_cards_and_a_second_run_reuses_them(tmp_path: Path) -> None:
    dialogues, said = invented_dialogues(), list[str]()
    pipeline = Pipeline(dialogues, TINY_SHAPE, tmp_path / "work", said.append, compile_model=False)
    small = {"num_passes": 1, "num_evaluations": 1, "batch_rows": 8, "max_minutes": 1.0}

    def run() -> dict[str, Path]:
        base = pipeline.model(replace(DEMO_BASE, **small))  # type: ignore[arg-type]
        sides = [pipeline.model(replace(recipe, **small), base) for recipe in (DEMO_SOCRATIC, DEMO_PLATOLM)]  # type: ignore[arg-type]
        return dict(zip(("base", "socratic", "platolm"), (base, *sides), strict=True))

    models = run()
    weights = {name: (folder / "model.safetensors").read_bytes() for name, folder in models.items()}
    assert len(set(weights.values())) == 3
    assert run() == models
    assert sum("finished earlier" in line for line in said) == 3

    out = tmp_path / "out"
    publish(models, dialogues, TINY_SHAPE, out, said.append)
    assert sorted(path.name for path in out.iterdir()) == [
        "README.md", "base", "evaluation.json", "platolm", "socratic",
    ]  # fmt: skip
    assert load_tokenizer(out / "platolm").encode("tea") == load_tokenizer(out / "socratic").encode("tea")
    record = read_record(out / "socratic")
    assert record["recipe"]["name"] == "socratic"
    assert record["earlier"]["recipe"]["name"] == "base"
    assert record["labels_seen"] < record["tokens_seen"]
    card = (out / "socratic" / "README.md").read_text(encoding="utf-8")
    assert "user turns only" in card
    assert "Copyright (c) 2022 Anthropic" in card
    measures = json.loads((out / "evaluation.json").read_text(encoding="utf-8"))
    assert [column["owner"] for column in measures["columns"]] == ["socratic", "platolm"]
    assert set(measures["columns"][0]["ahead"]) == {"platolm", "base", "5-gram"}


def test_a_folder_is_replaced_whole(tmp_path: Path) -> None:
    for name, text in (("fresh", "new"), ("place", "old")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(text, encoding="utf-8")
    (tmp_path / "place" / "stale").touch()
    put_in_place(tmp_path / "fresh", tmp_path / "place")
    assert [path.name for path in tmp_path.rglob("*")] == ["place", "file"]
    assert (tmp_path / "place" / "file").read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("command", [demo.main, evaluate.main, simulate.main])
def test_help_teaches(command: object) -> None:
    app = Typer()
    app.command()(command)  # type: ignore[type-var]
    result = CliRunner().invoke(app, ["--help"], env={"COLUMNS": "120"})
    assert result.exit_code == 0
    assert "python -m training." in result.output


def test_missing_data_is_one_line_and_exit_code_1(tmp_path: Path) -> None:
    app = Typer()
    app.command()(demo.main)
    result = CliRunner().invoke(app, ["--data", str(tmp_path), "--work", str(tmp_path / "work")])
    assert result.exit_code == 1
    assert "is missing: give the folder" in " ".join(result.output.split())
