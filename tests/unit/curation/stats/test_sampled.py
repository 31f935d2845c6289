"""Measures that a model gives, with models made for the purpose."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType

import numpy as np
import pytest

from curation.stats.embeddings import AUTO, NONE, EndpointEmbedder, LocalEmbedder, Vectors, embedder_of, is_bundled
from curation.stats.human import called_human, load_classifier
from curation.stats.sample import Sampled
from curation.stats.sampled import Raters, rate
from platolm.errors import InputError
from tests.unit.curation.stats.records import dialogue


class ByFirstLetter:
    """Texts with the same first letter are the same, others have nothing in common."""

    name = "first letter"

    def embed(self, texts: Sequence[str]) -> Vectors:
        return np.eye(26, dtype=np.float32)[[ord(text[0].lower()) - ord("a") for text in texts]]


def sampled(*questions: str) -> Sampled:
    turns = [turn for question in questions for turn in (question, "x")]
    return Sampled(0, "s", dialogue(*turns).messages)


def test_topic_similarity_is_over_all_questions() -> None:
    rated = rate([sampled("apples", "art"), sampled("bees", " ")], Raters(embedder=ByFirstLetter()), seed=1)
    figure = rated.figures["topic_similarity"]
    assert figure.value == pytest.approx(5 / 9)
    assert (figure.count, figure.sampled) == (3, True)
    assert rated.made_by == {"embeddings": "first letter"}


def test_human_likeness_is_the_share_of_questions() -> None:
    def is_short(texts: Sequence[str]) -> list[float]:
        return [float(len(text) < 5) for text in texts]

    rated = rate([sampled("why?", "how?", "what is this"), sampled("ok")], Raters(None, is_short, "short"), seed=1)
    figure = rated.figures["human_likeness"]
    assert (figure.value, figure.count) == (75, 4)
    assert figure.low is not None
    assert figure.low < 75
    assert rated.made_by == {"human classifier": "short"}


def test_what_has_no_model_is_not_measured_and_says_what_to_do() -> None:
    figures = rate([sampled("a")], Raters(), seed=1).figures
    assert all(figure.value is None and figure.lacking for figure in figures.values())
    assert "--human-classifier" in (figures["human_likeness"].lacking or "")
    assert "--embeddings" in (figures["topic_similarity"].lacking or "")
    assert figures["judge_diversity"].lacking == "give --judge"
    assert figures["first_turn_diversity"].lacking == "it takes two openings with words"


@pytest.mark.parametrize("answer", [[0.5], [0.5, 1.5], [0.5, float("nan")]])
def test_a_classifier_gives_a_probability_for_each(answer: list[float]) -> None:
    with pytest.raises(InputError, match="one probability, 0 to 1, for each of 2"):
        called_human(lambda _: answer, ["a", "b"])


def test_a_classifier_is_a_function_of_a_module(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("detector")
    module.human = lambda texts: [1.0] * len(texts)  # type: ignore[attr-defined]
    module.number = 3  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "detector", module)
    assert called_human(load_classifier("detector:human"), ["a"]) == [True]
    with pytest.raises(InputError, match="no function"):
        load_classifier("detector:number")


@pytest.mark.parametrize("name", ["no_such_module:f", "json:no_such_function"])
def test_a_classifier_that_is_not_there_is_an_error(name: str) -> None:
    with pytest.raises(InputError, match="cannot be loaded"):
        load_classifier(name)


def test_an_entry_point_that_is_not_there_is_an_error() -> None:
    with pytest.raises(InputError, match=r"no classifier nobodys .*give module:function"):
        load_classifier("nobodys")


def test_embeddings_are_what_the_flag_names() -> None:
    assert embedder_of(NONE) is None
    local = embedder_of("some/model")
    assert isinstance(local, LocalEmbedder)
    assert local.name == "some/model"
    remote = embedder_of("http://host/v1", model="m")
    assert isinstance(remote, EndpointEmbedder)
    assert remote.name == "m at http://host/v1"
    with pytest.raises(InputError, match="--embeddings-model"):
        embedder_of("http://host/v1")


def test_auto_is_the_bundled_model_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (embedder_of(AUTO) is not None) == is_bundled()
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert embedder_of(AUTO) is None
