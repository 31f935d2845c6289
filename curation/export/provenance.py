"""Where a dataset comes from: files with their digests, runs with their specs, models with their sampling."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from curation.dialogue import Dialogue
from curation.export.forms import public_name
from platolm.dataset import RUN_FILE

_SIDES = ("simulator", "respondent")
_PRIVATE_OF_A_SIDE = ("endpoints",)
_PRIVATE_OF_A_SPEC = ("output",)


@dataclass(frozen=True)
class Source:
    """An input: its name without its folder, how many files it is, and what is in them.

    `sha256` is of the file, of several files over their digests in order.
    """

    name: str
    num_files: int
    sha256: str


@dataclass
class Provenance:
    """Filled while the dialogues pass; counts are of conversations that are handed on."""

    sources: list[Source] = field(default_factory=list)
    specs: list[Mapping[str, Any]] = field(default_factory=list)
    runs: Counter[str] = field(default_factory=Counter)
    models: Counter[str] = field(default_factory=Counter)
    _sides: dict[str, Counter[str]] = field(default_factory=lambda: {side: Counter() for side in _SIDES})

    def add_source(self, path: Path, files: Sequence[Path]) -> None:
        """Note an input.

        Raises:
            OSError: a file cannot be read.
        """
        digests = [_digest(file) for file in files]
        whole = digests[0] if len(files) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
        self.sources.append(Source(path.resolve().name, len(files), whole))
        spec = spec_of(path)
        if spec is not None and spec not in self.specs:
            self.specs.append(spec)

    def add(self, dialogue: Dialogue) -> None:
        """Count a dialogue that is handed on."""
        if isinstance(run_id := dialogue.fields.get("run_id"), str) and run_id:
            self.runs[run_id] += 1
        if isinstance(model := dialogue.fields.get("model"), str) and model:
            self.models[public_name(model)] += 1
        for name, counts in self._sides.items():
            if isinstance(side := dialogue.fields.get(name), Mapping):
                counts[json.dumps(_public_side(side), sort_keys=True, ensure_ascii=False, default=str)] += 1

    def sides(self) -> list[tuple[str, dict[str, Any], int]]:
        """Who spoke: simulator or respondent, its record, and in how many conversations; the most frequent first."""
        return [
            (name, json.loads(text), count) for name, counts in self._sides.items() for text, count in _ranked(counts)
        ]

    def ranked_runs(self) -> list[tuple[str, int]]:
        return sorted(self.runs.items())

    def ranked_models(self) -> list[tuple[str, int]]:
        return _ranked(self.models)


def spec_of(path: Path) -> Mapping[str, Any] | None:
    """What the run in a folder was asked for, without the addresses of machines; None where the path is no run.

    Both kinds of `run.json` are known: the orchestrator's, which is the spec, and the caller's, which holds it.
    """
    try:
        described = json.loads((path / RUN_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    spec = described.get("spec", described) if isinstance(described, Mapping) else None
    if not isinstance(spec, Mapping):
        return None
    public = {key: value for key, value in spec.items() if key not in _PRIVATE_OF_A_SPEC}
    return public | {key: _public_side(public[key]) for key in _SIDES if isinstance(public.get(key), Mapping)}


def _public_side(side: Mapping[str, Any]) -> dict[str, Any]:
    public = {key: value for key, value in side.items() if key not in _PRIVATE_OF_A_SIDE}
    if isinstance(public.get("model"), str):
        public["model"] = public_name(public["model"])
    return public


def _ranked(counts: Counter[str]) -> list[tuple[str, int]]:
    return sorted(counts.items(), key=lambda entry: (-entry[1], entry[0]))


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
