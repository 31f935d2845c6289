"""The card: a header that the hub reads, and the account of the data."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from curation.export.card import MeasuredLine
from curation.export.filters import Filters
from curation.export.writing import Wanted, export_dataset
from platolm.browse_api import MarkFilter
from tests.unit.curation.export.exported import IRREGULAR, lines_file, run_folder


def header_and_text(card: Path) -> tuple[dict[str, Any], str]:
    _, header, text = card.read_text().split("---\n", 2)
    loaded: dict[str, Any] = yaml.safe_load(header)
    return loaded, text


def card_of(tmp_path: Path, source: Path, wanted: Wanted, *measured: MeasuredLine) -> tuple[dict[str, Any], str]:
    export_dataset([source], tmp_path / "talks", wanted, measure=lambda _: list(measured))
    return header_and_text(tmp_path / "talks" / "README.md")


def test_the_header_names_splits_licence_and_size(tmp_path: Path) -> None:
    wanted = Wanted(test_share=0.4, licence="cc-by-4.0", languages=("en", "de"), title="Talks: of tea")
    header, text = card_of(tmp_path, run_folder(tmp_path / "run"), wanted)
    assert header == {
        "language": ["en", "de"],
        "license": "cc-by-4.0",
        "size_categories": ["n<1K"],
        "task_categories": ["text-generation"],
        "pretty_name": "Talks: of tea",
        "tags": ["dialogue", "multi-turn", "platolm"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": "train", "path": "data/train.json"},
                    {"split": "test", "path": "data/test.json"},
                ],
            }
        ],
    }
    assert "`cc-by-4.0`" in text


def test_a_licence_that_is_not_named_is_unknown(tmp_path: Path) -> None:
    header, text = card_of(tmp_path, run_folder(tmp_path / "run"), Wanted())
    assert header["license"] == "unknown"
    assert header["pretty_name"] == "talks"
    assert "Not named." in text


def test_runs_models_sampling_and_spec_are_told_but_no_address(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    described = json.loads((run / "run.json").read_text())
    described["simulator"]["endpoints"] = ["http://10.1.2.3:8000/v1"]
    described["output"] = {"url": "s3://secret-bucket/runs", "format": "jsonl", "segment_records": 512}
    (run / "run.json").write_text(json.dumps(described))
    _, text = card_of(tmp_path, run, Wanted())
    assert "| run-a | 12 |" in text
    assert "| simulator | org/socratic | socratic | max\\_tokens 512, min\\_p 0.0, repetition\\_penalty 1.0, " in text
    assert "| respondent | org/platolm | platolm | " in text
    assert '"conversations": 1000' in text
    assert "10.1.2.3" not in text
    assert "secret-bucket" not in text


def test_the_callers_run_file_gives_its_spec(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run")
    spec = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({"api": "http://host", "spec": spec, "idempotency_key": "hidden"}))
    _, text = card_of(tmp_path, run, Wanted())
    assert '"conversations": 1000' in text
    assert "hidden" not in text


def test_inputs_are_told_by_name_and_digest(tmp_path: Path) -> None:
    source = lines_file(tmp_path / "in_a.jsonl", *IRREGULAR)
    _, text = card_of(tmp_path, source, Wanted())
    assert f"| in\\_a.jsonl | 1 | `{hashlib.sha256(source.read_bytes()).hexdigest()}` |" in text
    assert str(tmp_path) not in text


def test_counts_by_split_and_ending_and_what_was_measured(tmp_path: Path) -> None:
    measured = MeasuredLine("lexical diversity", "62.1", "61.0 to 63.2")
    _, text = card_of(tmp_path, run_folder(tmp_path / "run"), Wanted(), measured)
    assert "12 conversations (between a user simulator and a respondent) with 24 questions and their answers" in text
    assert "| rounds a conversation | 2.00 |" in text
    assert "| tokens an utterance, as the speakers count | 3.00 |" in text
    assert "| context\\_full | 4 |" in text
    assert "| lexical diversity | 62.1 | 61.0 to 63.2 |" in text


def test_only_what_a_run_made_is_called_simulated(tmp_path: Path) -> None:
    run, others = run_folder(tmp_path / "run"), lines_file(tmp_path / "in.jsonl", *IRREGULAR)
    export_dataset([run, others], tmp_path / "both", Wanted())
    _, text = header_and_text(tmp_path / "both" / "README.md")
    assert "14 conversations (12 of them between a user simulator and a respondent) with 26 questions" in text
    _, text = card_of(tmp_path, others, Wanted())
    assert "2 conversations with 2 questions and their answers" in text


def test_the_selection_is_told(tmp_path: Path) -> None:
    filters = Filters(2, frozenset({"user_ended"}), MarkFilter.GOOD)
    _, text = card_of(tmp_path, run_folder(tmp_path / "run"), Wanted(filters=filters))
    assert "Asked for: at least 2 rounds; ended by user_ended; marked good. 12 conversations were read." in text
    assert "| too few rounds | 4 |" in text


def test_what_is_left_out_is_told(tmp_path: Path) -> None:
    _, text = card_of(tmp_path, lines_file(tmp_path / "in.jsonl", *IRREGULAR), Wanted())
    assert "| roles do not alternate | 1 |" in text
    assert "Of 1 conversations a last question was cut" in text


@pytest.mark.parametrize("hostile", ["a|b", "<script>alert(1)</script>", "line\nbreak", "---\nlicense: mit", "`x`"])
def test_no_text_of_a_record_breaks_the_card(hostile: str, tmp_path: Path) -> None:
    record = {
        **IRREGULAR[0],
        "model": hostile,
        "run_id": "r",
        "simulator": {"model": hostile, "system_prompt": hostile},
    }
    header, text = card_of(tmp_path, lines_file(tmp_path / "in.jsonl", record), Wanted(title=hostile))
    assert header["license"] == "unknown"
    assert header["pretty_name"] == " ".join(hostile.split())
    assert "<script>" not in text
    tables = [line for line in text.splitlines() if line.startswith("|")]
    assert all(line.endswith("|") for line in tables)
    row = next(line for line in tables if line.startswith("| simulator "))
    assert row.replace("\\|", "").count("|") == 7
