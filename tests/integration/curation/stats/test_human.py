"""Human-likeness by a transformers model of a folder: a tiny one, made here, whose last layer was set by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from curation.stats.human import called_human, load_classifier
from platolm.errors import InputError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "there"]
QUESTIONS = ["hello there", "hello " * 3000, "there"]


def make_model(folder: Path, *labels: str) -> Path:
    """A classifier that always says its second label."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join(WORDS))
    names = dict(enumerate(labels))
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=64, id2label=names,
        label2id={label: number for number, label in names.items()},
    )  # fmt: skip
    model = BertForSequenceClassification(config)  # type: ignore[no-untyped-call]
    with torch.no_grad():
        model.classifier.weight.zero_()
        model.classifier.bias.copy_(torch.tensor([0.0, 2.0, *[0.0] * (len(labels) - 2)]))
    model.save_pretrained(folder)
    BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


def test_the_probability_is_the_persons_label(tmp_path: Path) -> None:
    classifier = load_classifier(str(make_model(tmp_path / "detector", "ChatGPT", "Human")))
    assert classifier(QUESTIONS) == pytest.approx([0.8808] * 3, abs=1e-4)  # e² of 1 + e²
    assert called_human(classifier, QUESTIONS) == [True, True, True]


def test_the_label_may_be_named(tmp_path: Path) -> None:
    folder = str(make_model(tmp_path / "detector", "LABEL_0", "LABEL_1"))
    assert called_human(load_classifier(folder, "label_0"), QUESTIONS) == [False, False, False]
    with pytest.raises(InputError, match=r"labels are LABEL_0, LABEL_1: name a person's by --human-label"):
        load_classifier(folder)
    with pytest.raises(InputError, match="--human-label"):
        load_classifier(folder, "person")


def test_a_folder_that_is_no_classifier_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "nobodys"}')
    with pytest.raises(InputError, match="no classifier in"):
        load_classifier(str(tmp_path))
