"""What is written loads in `datasets`, LLaMA-Factory, FastChat and our own training, unchanged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from datasets import load_dataset  # type: ignore[import-untyped]

from curation.export.split import Split
from curation.export.writing import Wanted, export_dataset
from curation.reading import Unreadable, read_dialogues
from platolm.conversation import ASSISTANT, SYSTEM, USER
from platolm.runs_api import DatasetFormat
from tests.integration.curation.export.other_trainers import Example, read_by_fastchat, read_by_llama_factory
from tests.unit.curation.export.exported import IRREGULAR, lines_file, run_folder, sharegpt
from training.data.dialogues import conversation_of
from training.data.reading import chunks_of, files_of

DATA = Path(__file__).parents[4].parent / "shared" / "data"

WAYS = {
    "list": Wanted(test_share=0.3),
    "lines": Wanted(test_share=0.3, lines=True),
    "openai": Wanted(test_share=0.3, form=DatasetFormat.OPENAI),
    "parquet": Wanted(test_share=0.3, form=DatasetFormat.PARQUET),
}
HARD_TEXTS = ('"quoted"\n\ttabs', "</s><s>", "naïve — 日本語 🍵", "`x`|y", "\u2028", "  spaces  ")

Said = list[tuple[str, str]]


@pytest.fixture
def sources(tmp_path: Path) -> list[Path]:
    """A run, what people send, a late first system message and field, and texts that are hard to carry."""
    hard = [sharegpt(f"h{i}", ("human", text), ("gpt", text[::-1])) for i, text in enumerate(HARD_TEXTS)]
    late = sharegpt(
        "late", ("system", "Be kind."), ("human", "Last?"), ("gpt", "Yes."), language="English", mark="good"
    )
    return [run_folder(tmp_path / "run", 30), lines_file(tmp_path / "in.jsonl", *IRREGULAR, *hard, late)]


def expected(report_order: list[str], sources: list[Path]) -> list[tuple[str, str, Said]]:
    """Id, system message and turns of these dialogues, as `curation.reading` has them."""
    found = {}
    for one in read_dialogues(sources):
        if not isinstance(one, Unreadable):
            system = "".join(message.content for message in one.messages if message.role == SYSTEM)
            turns = [(message.role, message.content) for message in one.messages if message.role != SYSTEM]
            found[one.id] = (one.id, system, turns[: len(turns) - len(turns) % 2])
    return [found[identifier] for identifier in report_order]


@pytest.mark.parametrize("way", WAYS)
def test_datasets_loads_the_folder_with_its_splits(way: str, sources: list[Path], tmp_path: Path) -> None:
    report = export_dataset(sources, tmp_path / "talks", WAYS[way])
    loaded = load_dataset(str(tmp_path / "talks"), cache_dir=str(tmp_path / "cache"))
    assert list(loaded) == ["train", "test"]
    for split in Split:
        assert len(loaded[split]) == report.splits[split].num_conversations
        wanted = expected(loaded[split]["id"], sources)
        if way == "openai":
            read = [[(m["role"], m["content"]) for m in messages] for messages in loaded[split]["messages"]]
            assert read == [([(SYSTEM, system)] if system else []) + turns for _, system, turns in wanted]
        else:
            roles = {"human": USER, "gpt": ASSISTANT}
            read = [[(roles[m["from"]], m["value"]) for m in turns] for turns in loaded[split]["conversations"]]
            assert read == [turns for _, _, turns in wanted]
            assert loaded[split]["system"] == [system for _, system, _ in wanted]


@pytest.mark.parametrize("way", WAYS)
def test_llama_factory_passes_over_nothing(way: str, sources: list[Path], tmp_path: Path) -> None:
    export_dataset(sources, tmp_path / "talks", WAYS[way])
    read = [
        *read_by_llama_factory(tmp_path / "talks", "talks", tmp_path / "cache"),
        *read_by_llama_factory(tmp_path / "talks", "talks_test", tmp_path / "cache"),
    ]
    loaded = load_dataset(str(tmp_path / "talks"), cache_dir=str(tmp_path / "cache"))
    wanted = expected([*loaded["train"]["id"], *loaded["test"]["id"]], sources)
    assert read == [Example(system, turns) for _, system, turns in wanted]


def test_llama_factory_and_fastchat_refuse_what_is_left_out(tmp_path: Path) -> None:
    """The rules are not empty: with the irregular ones kept, one passes over four and the other stops."""
    export_dataset([lines_file(tmp_path / "in.jsonl", *IRREGULAR)], tmp_path / "talks", Wanted(keep_irregular=True))
    read = read_by_llama_factory(tmp_path / "talks", "talks", tmp_path / "cache")
    assert sum(example is None for example in read) == 4
    with pytest.raises((KeyError, AssertionError)):
        read_by_fastchat(tmp_path / "talks" / "data" / "train.json")


def test_fastchat_reads_the_list(sources: list[Path], tmp_path: Path) -> None:
    export_dataset(sources, tmp_path / "talks", WAYS["list"])
    for split in Split:
        file = tmp_path / "talks" / "data" / f"{split}.json"
        ids = [record["id"] for record in json.loads(file.read_text())]
        read = [[(role.lower(), text) for role, text in turns] for turns in read_by_fastchat(file)]
        assert read == [turns for _, _, turns in expected(ids, sources)]


@pytest.mark.parametrize("way", WAYS)
def test_our_training_reads_the_train_file(way: str, sources: list[Path], tmp_path: Path) -> None:
    report = export_dataset(sources, tmp_path / "talks", WAYS[way])
    file = tmp_path / "talks" / report.splits[Split.TRAIN].file_name
    entries = [entry for chunk in chunks_of(files_of([str(file)])) for entry in chunk.entries]
    read = [conversation_of(entry.record, entry.line) for entry in entries]
    assert len(read) == report.splits[Split.TRAIN].num_conversations
    turns = [[(m.role, m.content) for m in one.messages if m.role != SYSTEM] for one in read]
    assert turns == [turns for _, _, turns in expected([one.id for one in read], sources)]


def test_the_test_file_is_not_trained_on_by_naming_the_folder(sources: list[Path], tmp_path: Path) -> None:
    export_dataset(sources, tmp_path / "talks", WAYS["list"])
    assert [file.name for file in files_of([str(tmp_path / "talks")])] == ["dataset_info.json"]


def test_real_dialogues_go_through_every_reader(tmp_path: Path) -> None:
    source = DATA / "oasst_dialogues.jsonl"
    if not source.is_file():
        pytest.skip(f"{source} is absent: the real dialogues lie beside the repository")
    report = export_dataset([source], tmp_path / "talks", Wanted(test_share=0.1))
    assert report.num_written == 109
    assert len(load_dataset(str(tmp_path / "talks"), cache_dir=str(tmp_path / "cache"))["train"]) > 80
    assert None not in read_by_llama_factory(tmp_path / "talks", "talks", tmp_path / "cache")
    assert len(read_by_fastchat(tmp_path / "talks/data/train.json")) == report.splits[Split.TRAIN].num_conversations
