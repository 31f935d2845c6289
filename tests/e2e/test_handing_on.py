"""Other people's questions as seeds, a run from them with the demo pair, and its dataset handed on in every form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import load_dataset  # type: ignore[import-untyped]

from platolm.runs_api import DatasetFormat
from tests.local_stack import RunningStack, platolm

pytestmark = [pytest.mark.vllm, pytest.mark.slow, pytest.mark.timeout(600)]

NUM_CONVERSATIONS = 12
ROLES = {"human": "user", "gpt": "assistant"}

Said = list[tuple[str, str]]


def dolly_file(path: Path) -> Path:
    """Forty records of two categories in the form of Dolly, three to one."""
    records = [
        {
            "instruction": f"How many legs have {number} horses?",
            "context": f"A horse has four legs. There are {number}." if number % 4 == 0 else "",
            "response": f"They have {4 * number} legs.",
            "category": "closed_qa" if number % 4 == 0 else "open_qa",
        }
        for number in range(1, 41)
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def records_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def said_in(row: dict[str, Any]) -> Said:
    """Roles and texts of a row in any of the forms."""
    if "messages" in row:
        return [(turn["role"], turn["content"]) for turn in row["messages"]]
    return [(ROLES[turn["from"]], turn["value"]) for turn in row["conversations"]]


@pytest.fixture(scope="module")
def run_folder(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of the demo pair from seeds that `platolm seeds` drew."""
    folder = tmp_path_factory.mktemp("handing-on")
    drawn = ("--sample", str(NUM_CONVERSATIONS), "--stratify", "category", "--seed", "125")
    made = platolm("seeds", str(dolly_file(folder / "dolly.jsonl")), "--out", "seeds.jsonl", *drawn, cwd=folder)
    assert made.returncode == 0, made.stderr
    command = ("run", "--seeds", "seeds.jsonl", "--seed-mode", "exchange", "-n", str(NUM_CONVERSATIONS))
    done = platolm(*command, "--max-turns", "6", "--out", "run", "--api", stack.api_url, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_run_takes_the_seeds_as_they_are(run_folder: Path) -> None:
    seeds = records_of(run_folder.parent / "seeds.jsonl")
    assert [seed["category"] for seed in seeds].count("closed_qa") == NUM_CONVERSATIONS // 4
    openings = {tuple(said_in(record)[:2]) for record in records_of(run_folder / "sharegpt.jsonl")}
    assert openings == {(("user", seed["question"]), ("assistant", seed["answer"])) for seed in seeds}


@pytest.mark.parametrize("form", list(DatasetFormat))
def test_its_dataset_loads_in_every_form(run_folder: Path, tmp_path: Path, form: DatasetFormat) -> None:
    options = ("--format", form.value, "--test-share", "0.3", "--licence", "mit")
    done = platolm("export", str(run_folder), "--out", "talks", *options, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    loaded = load_dataset(str(tmp_path / "talks"), cache_dir=str(tmp_path / "cache"))
    assert set(loaded) == {"train", "test"}
    rows = {row["id"]: row for split in loaded.values() for row in split}
    talks = {record["id"]: record for record in records_of(run_folder / "sharegpt.jsonl")}
    assert {identifier: said_in(row) for identifier, row in rows.items()} == {
        identifier: said_in(record) for identifier, record in talks.items()
    }
    assert {row["simulator_model"] for row in rows.values()} == {"socratic"}
    assert all(row["num_rounds"] == talks[identifier]["num_rounds"] for identifier, row in rows.items())
    card = (tmp_path / "talks" / "README.md").read_text(encoding="utf-8")
    assert f"{NUM_CONVERSATIONS} conversations (between a user simulator and a respondent) with " in card
    assert "license: mit\n" in card
