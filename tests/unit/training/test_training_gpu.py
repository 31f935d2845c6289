"""The GPU benchmark, as far as it goes without one: a variant runs at toy size, its rows and its table are right."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.training_gpu import BASE, VARIANTS, Measured, main, random_rows, table
from platolm.dyadic import IGNORE_INDEX
from training.recipes.overrides import with_overrides

REPOSITORY = Path(__file__).parents[3]


def test_a_variant_runs_at_toy_size() -> None:
    command = [sys.executable, "-m", "benchmarks.training_gpu", "--smoke", "--json", "--steps", "1", "--warm-up", "1"]
    result = subprocess.run([*command, "--only", "base"], capture_output=True, text=True, cwd=REPOSITORY, check=False)
    assert result.returncode == 0, result.stderr
    (measured,) = json.loads(result.stdout)
    assert measured["variant"] == "base"
    assert measured["tokens_per_s"] > measured["target_tokens_per_s"] > 0
    assert 0 < measured["mfu"] < 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_without_a_gpu_it_says_so_in_one_line() -> None:
    with pytest.raises(SystemExit, match=r"^no CUDA device here: .* --smoke$"):
        main()


def test_every_variant_is_a_recipe() -> None:
    recipes = [with_overrides(BASE, changes) for changes in VARIANTS.values()]
    assert len({recipe.model_dump_json() for recipe in recipes}) == len(VARIANTS)


def test_rows_have_ids_of_the_model_labels_and_lengths_of_chats() -> None:
    rows = random_rows(BASE, 200)
    assert rows == random_rows(BASE, 200)
    lengths = sorted(len(row.input_ids) for row in rows)
    assert 32 <= lengths[0] < 700 < lengths[-1] == 2048
    assert 500 < lengths[100] < 1000
    assert all(4 <= token < 32_000 for row in rows for token in row.input_ids)
    assert all(row.has_loss for row in rows)
    assert all(
        label in (IGNORE_INDEX, token) for row in rows for token, label in zip(row.input_ids, row.labels, strict=True)
    )


def test_the_table_is_markdown_and_keeps_failures() -> None:
    lines = table([Measured("base", 7654.3, 3210.9, 0.4567, 101.26), Measured("other", failure="out of memory")], "x")
    assert lines[0].endswith("weights in x.")
    assert lines[-2:] == ["| base | 7,654 | 3,211 | 45.7% | 101.3 GiB |", "| other | out of memory | | | |"]
