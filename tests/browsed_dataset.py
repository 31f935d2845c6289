"""Small datasets to browse in: what was said, how it ended, how it is written."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from platolm.conversation import ASSISTANT, USER
from platolm.dataset import MANIFEST_FOLDER, RUN_FILE, SEGMENTS_FOLDER, ManifestEntry, iter_manifest, manifest_name
from platolm.runs import conversation_id
from platolm.spec import OutputFormat, RunSpec
from platolm.storage import Place
from services.orchestrator.datasets.dataset_writer import DatasetWriter
from services.orchestrator.datasets.run_place import RunPlace
from tests.conversation_records import side

RUN_ID = "run-a"
CONVERSATIONS = 1000


def said(index: int, *texts: str, ending: str = "turn_limit", num_tokens: int = 3) -> dict[str, Any]:
    """A conversation of these utterances, the user's first."""
    roles = [(USER, "human"), (ASSISTANT, "gpt")]
    turn = {"num_tokens": num_tokens, "num_prompt_tokens": 9, "num_cached_tokens": None, "finish_reason": "stop"}
    more = {"sampling_seed": 5, "duration_s": 0.5, "token_ids": [7, 8, 9]}
    sides = {"simulator": side("socratic").model_dump(), "respondent": side("platolm").model_dump()}
    return {
        "id": conversation_id(RUN_ID, index),
        "run_id": RUN_ID,
        "index": index,
        "conversations": [{"from": roles[i % 2][1], "value": text} for i, text in enumerate(texts)],
        "num_rounds": len(texts) // 2,
        "termination_reason": ending,
        **sides,
        "seed": 1,
        "seed_mode": "free",
        "seed_line": None,
        "turns": [{"role": roles[i % 2][0], **turn, **more} for i in range(len(texts))],
        "started_at": 1.0,
        "finished_at": 2.0,
    }


def dataset(
    place: Place,
    batches: Sequence[Sequence[dict[str, Any]]],
    *,
    form: OutputFormat = OutputFormat.JSONL,
    is_ascii: bool = False,
) -> RunPlace:
    """A dataset of a segment for each batch; `is_ascii`: its JSON escapes everything else."""
    place.make(SEGMENTS_FOLDER, MANIFEST_FOLDER)
    place.write(RUN_FILE, [RunSpec(conversations=CONVERSATIONS).model_dump_json().encode()])
    writer = DatasetWriter(place, conversations=CONVERSATIONS, form=form)
    for batch in batches:
        writer.commit({one["index"]: json.dumps(one, ensure_ascii=is_ascii) for one in batch})
    return run_place(place)


def run_place(place: Place) -> RunPlace:
    """The dataset as an API that has just begun knows it."""
    return RunPlace(place, CONVERSATIONS, Path("unused"))


def forget_summaries(place: Place) -> None:
    """Make the manifest as it was before entries had summaries."""
    for entry in list(iter_manifest(place)):
        fields = ManifestEntry.model_dump(entry, mode="json", exclude={"summary"})
        place.write(manifest_name(entry.number), [json.dumps(fields).encode()])
