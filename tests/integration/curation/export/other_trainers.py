"""How other trainers read a dataset, by the rules of their published loaders, written anew.

LLaMA-Factory (src/llamafactory/data: parser.py, loader.py, converter.py): `dataset_info.json` names file, columns and
tags; the file is loaded by `datasets` with the loader of its suffix; a leading system message is taken apart; then user
and assistant tags must alternate, an even number of them, else the example is passed over.

FastChat (fastchat/train/train.py): the file is one JSON list; `from` is human or gpt and nothing else, a first turn of
gpt is passed over, then the two must alternate, else training stops.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from datasets import load_dataset  # type: ignore[import-untyped]

LOADERS = {"arrow": "arrow", "csv": "csv", "json": "json", "jsonl": "json", "parquet": "parquet", "txt": "text"}
"""LLaMA-Factory's loader for each suffix."""


@dataclass(frozen=True)
class Example:
    """What LLaMA-Factory makes of a row: roles and texts, the last one the response."""

    system: str
    turns: list[tuple[str, str]]


def read_by_llama_factory(dataset_dir: Path, name: str, cache: Path) -> list[Example | None]:
    """Each row's example, None for one that is passed over."""
    described = json.loads((dataset_dir / "dataset_info.json").read_text())[name]
    assert described["formatting"] == "sharegpt"
    file = dataset_dir / described["file_name"]
    assert file.is_file()
    loader = LOADERS[str(file).split(".")[-1]]
    rows = load_dataset(loader, data_files=[str(file)], split="train", cache_dir=str(cache))
    return [_example(row, described["columns"], described["tags"]) for row in rows]


def _example(row: dict[str, Any], columns: dict[str, str], tags: dict[str, str]) -> Example | None:
    messages = row[columns["messages"]]
    system = row[columns["system"]] if "system" in columns else ""
    if messages and messages[0][tags["role_tag"]] == tags["system_tag"]:
        system, messages = messages[0][tags["content_tag"]], messages[1:]
    accepted = (
        {tags["user_tag"]: "user", tags["observation_tag"]: "observation"},
        {tags["assistant_tag"]: "assistant", tags["function_tag"]: "function"},
    )
    turns = []
    for position, message in enumerate(messages):
        role = accepted[position % 2].get(message[tags["role_tag"]])
        if role is None:
            return None
        turns.append((role, message[tags["content_tag"]]))
    return Example(system, turns) if turns and len(turns) % 2 == 0 else None


def read_by_fastchat(data_path: Path) -> list[list[tuple[str, str]]]:
    """Each conversation's roles and texts.

    Raises:
        KeyError, AssertionError: training would stop.
    """
    roles = {"human": "USER", "gpt": "ASSISTANT"}
    conversations = []
    for record in json.loads(data_path.read_text()):
        source = record["conversations"]
        if roles[source[0]["from"]] != "USER":
            source = source[1:]
        turns = [(roles[turn["from"]], turn["value"]) for turn in source]
        assert [role for role, _ in turns] == [("USER", "ASSISTANT")[i % 2] for i in range(len(turns))]
        conversations.append(turns)
    return conversations
