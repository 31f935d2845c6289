"""Is a question a person's? By a classifier that the caller brings; none comes with the project.

A classifier is a function from texts to as many probabilities that a person wrote them. It is named as

- `module:function`, importable from where the command runs or installed;
- the folder of a transformers model for sequence classification (the paper's is of this kind: RoBERTa trained to tell
  ChatGPT's answers from people's); one of its labels must say "human" or "real", or be named;
- an entry point of the group `platolm.human_classifiers` that gives such a function.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

from platolm.errors import InputError

CLASSIFIERS_GROUP = "platolm.human_classifiers"
HUMAN_FROM = 0.5
"""A question counts as a person's from this probability on."""

_HUMAN_LABELS = frozenset({"human", "real"})
_CONFIG = "config.json"
_BATCH = 32

Classifier = Callable[[Sequence[str]], Sequence[float]]


def load_classifier(name: str, human_label: str | None = None) -> Classifier:
    """The classifier of that name; `human_label` is for a model folder whose labels do not say which is a person's.

    Raises:
        InputError: there is no such folder, entry point, module or function, or the folder's labels do not say it.
    """
    if (Path(name) / _CONFIG).is_file():
        return FolderClassifier(Path(name), human_label)
    try:
        loaded = _from_path(name) if ":" in name else _from_entry_point(name)
    except (ImportError, AttributeError) as error:
        raise InputError(f"the classifier {name} cannot be loaded: {error}") from error
    if not callable(loaded):
        raise InputError(f"the classifier {name} is no function from texts to probabilities")
    return cast("Classifier", loaded)


def called_human(classifier: Classifier, questions: Sequence[str]) -> list[bool]:
    """Whether it takes each question for a person's.

    Raises:
        InputError: it does not give a probability for each.
    """
    probabilities = [float(one) for one in classifier(questions)]
    if len(probabilities) != len(questions) or not all(0 <= one <= 1 for one in probabilities):
        raise InputError(f"the classifier must give one probability, 0 to 1, for each of {len(questions)} questions")
    return [one >= HUMAN_FROM for one in probabilities]


class FolderClassifier:
    """A transformers model of a folder; what is longer than it can take is cut."""

    def __init__(self, folder: Path, human_label: str | None = None) -> None:
        """Raises InputError where the folder holds no such model, or its labels do not say which is a person's."""
        from transformers import pipeline
        from transformers.utils import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # of loading, which takes a second
        try:
            self._pipeline: Any = pipeline("text-classification", model=str(folder), batch_size=_BATCH, top_k=None)
        except (OSError, ValueError, KeyError) as error:
            raise InputError(f"no classifier in {folder}: {' '.join(str(error).split())[:300]}") from error
        self._label = human_label_of((self._pipeline.model.config.id2label or {}).values(), human_label)

    def __call__(self, texts: Sequence[str]) -> list[float]:
        """The probability of a person for each text."""
        tokenizer, config = self._pipeline.tokenizer, self._pipeline.model.config
        limit = min(tokenizer.model_max_length, getattr(config, "max_position_embeddings", tokenizer.model_max_length))
        room = limit - 2  # RoBERTa's positions begin at 2
        found = self._pipeline(list(texts), truncation=True, max_length=room)
        return [next(one["score"] for one in scores if one["label"] == self._label) for scores in found]


def human_label_of(labels: Iterable[str], wanted: str | None = None) -> str:
    """The label that stands for a person: the wanted one, or the only one that says "human" or "real".

    Raises:
        InputError: there is no such label, or more than one.
    """
    labels = list(labels)
    names = {wanted.casefold()} if wanted is not None else _HUMAN_LABELS
    found = [label for label in labels if label.casefold() in names]
    if len(found) != 1 or len(labels) < 2:
        raise InputError(f"the classifier's labels are {', '.join(labels)}: name a person's by --human-label")
    return found[0]


def _from_path(name: str) -> object:
    """A function of a module, which may lie in the current folder."""
    module, _, attribute = name.partition(":")
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    return getattr(importlib.import_module(module), attribute)


def _from_entry_point(name: str) -> object:
    found = entry_points(group=CLASSIFIERS_GROUP)
    if name not in found.names:
        known = ", ".join(sorted(found.names)) or "none"
        raise InputError(
            f"no classifier {name} (installed: {known}): give module:function, a model's folder, or install one"
        )
    return found[name].load()
